"""Events on their way to a real HTTP sink: slow, broken, refusing, away, and back again."""

from __future__ import annotations

import json
import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from core.config.model_config import LoggingConfig
from core.errors import Code, FailedPrecondition
from core.events.settings import EventMode, EventSettings, LoggedParts
from core.inference.signature import ServedModel
from core.recording.collector import LogContext, RecordsLost
from core.recording.prediction_log import Exchange, LogOrigin, prediction_log
from core.routing.transport import Method
from core.telemetry.metric_names import DROPPED_LOG_RECORDS, LOG_EVENTS, REQUEST_LOG_COUNT
from deployments.recording.event_collector import EventCollector
from deployments.recording.event_sink import HttpSink
from deployments.recording.log_writer import LogWriter, WriterThread
from deployments.telemetry.process_metrics import METRICS
from tests.support.certificates import Authority
from tests.support.clients import wait_until
from tests.support.event_sinks import Sink, drips, endless, hangs, says, sink, stalls, status
from tests.support.prediction_logs import predict_request

SERVED = ServedModel("sunk", 3, {})


def record(value: float = 1.0) -> bytes:
    exchange = Exchange(Method.PREDICT, predict_request(value).SerializeToString(), b"", 1e9)
    return prediction_log(SERVED, exchange, LogOrigin(LoggingConfig()))


class Clock:
    """Time that passes when somebody waits."""

    def __init__(self) -> None:
        self.now = 100.0

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class Site:
    """A collector and its clock."""

    def __init__(self, url: str, **settings: object) -> None:
        self.clock = Clock()
        given = EventSettings(**{"batch_interval_s": 0, "timeout_s": 10.0, **settings})
        config = LoggingConfig("cloudevents", url, 1.0, events=given)
        self.collector = EventCollector(
            config, LogContext("sunk", 3, "r"), HttpSink(url, given),
            now_s=lambda: self.clock.now, sleep=self.clock.sleep, draw=lambda: 0.0,
        )  # fmt: skip
        self._before = self.counts()

    def log(self, *values: float) -> None:
        self.collector.collect([self.collector.encoded(record(value)) for value in values])

    @staticmethod
    def counts() -> dict[tuple[str, str], float]:
        snapshot = METRICS.snapshot().counters
        return {
            (name, labels[1]): value
            for name in (LOG_EVENTS.name, DROPPED_LOG_RECORDS.name)
            for labels, value in snapshot.get(name, {}).items()
            if labels[0] == "sunk"
        }

    def counted(self, metric=LOG_EVENTS) -> dict[str, float]:
        """Return what was counted since the beginning."""
        return {
            label: value - self._before.get((name, label), 0)
            for (name, label), value in self.counts().items()
            if name == metric.name and value != self._before.get((name, label), 0)
        }


@pytest.fixture
def target() -> Iterator[Sink]:
    with sink() as opened:
        yield opened


Make = Callable[..., Site]


@pytest.fixture
def make(target: Sink) -> Iterator[Make]:
    """Make collectors for the sink, which are closed with the test."""
    made: list[Site] = []

    def make(url: str = "", **settings: object) -> Site:
        made.append(Site(url or target.url, **settings))
        return made[-1]

    yield make
    for one in made:
        if not one.collector._sink._loop.is_closed():
            one.collector._waiting.clear()
            one.collector._again.clear()
            one.collector.close(0)


def test_events_go_in_batches_and_in_order(make: Make, target: Sink) -> None:
    """Full ones at once, the rest after its time; one connection carries them."""
    site = make(batch_size=4, batch_interval_s=5)
    site.log(1, 2, 3)

    assert not site.collector.flush()
    assert [len(json.loads(one.body)) for one in target.posted] == [4]
    site.clock.now += 5
    assert site.collector.flush()
    bodies = [event for one in target.posted for event in json.loads(one.body)]
    assert [event["data"]["inputs"]["x"] for event in bodies[::2]] == [[[1.0]], [[2.0]], [[3.0]]]
    assert [one["type"].rpartition(".")[2] for one in bodies] == ["request", "response"] * 3
    assert target.posted[0].headers["content-type"] == "application/cloudevents-batch+json"
    assert site.counted() == {"sent": 6}


@pytest.mark.parametrize("settings", [{"mode": EventMode.BINARY}, {"batch_size": 1}])
def test_single_events_are_read_by_cloud_events_own_package(make: Make, target: Sink, settings) -> None:
    """In binary mode, and structured without batches."""
    site = make(log=LoggedParts.REQUEST, **settings)
    site.log(1, 2)

    assert site.collector.flush()
    assert sorted(one.get_data()["inputs"]["x"][0][0] for one in target.events) == [1.0, 2.0]
    assert {one.get_extension("inferenceservicename") for one in target.events} == {"sunk"}
    assert {one.path for one in target.posted} == {"/events"}


@pytest.mark.parametrize("behaviour", [
    status(500), status(503), status(408), status(429), says(b""), says(b"garbage\r\n\r\n"), says(b"HTTP/1.1 banana\r\n\r\n"),
    says(b"HTTP/1.1 200 OK\r\nx: " + b"y" * 100_000 + b"\r\n\r\n"), says(b"HTTP/1.1 2"), says(b"\x16\x03\x01\x02\x00"),
])  # fmt: skip
def test_a_batch_is_sent_again_after_what_passes(make: Make, target: Sink, behaviour) -> None:
    """The same events, with their ids, after a pause in which nothing is sent."""
    target.script.append(behaviour)
    site = make()
    site.log(1)

    assert not site.collector.flush()
    assert not site.collector.flush()
    assert len(target.posted) == 1
    site.clock.now += 0.5
    assert site.collector.flush()
    assert target.posted[0].body == target.posted[1].body
    assert site.counted() == {"sent": 2}


def test_the_sink_says_when_to_come_back(make: Make, target: Sink) -> None:
    """With 429 or 503, by `Retry-After`."""
    target.script.append(status(429, retry_after="7"))
    site = make()
    site.log(1)
    site.collector.flush()

    site.clock.now += 6.9
    site.collector.flush()
    assert len(target.posted) == 1
    site.clock.now += 0.2
    assert site.collector.flush()


@pytest.mark.parametrize("behaviour", [hangs, drips], ids=["hangs", "drips"])
def test_a_sink_that_does_not_answer_holds_the_log_up_for_its_time_only(make: Make, target: Sink, behaviour) -> None:
    """Also one that always sends another byte."""
    target.script.append(behaviour)
    site = make(timeout_s=0.2)
    site.log(1)
    began_s = time.monotonic()

    assert not site.collector.flush()
    assert time.monotonic() - began_s < 5
    site.clock.now += 0.5
    assert site.collector.flush()


def test_an_endless_answer_is_not_read(make: Make, target: Sink) -> None:
    """Its status says all; the connection is not used again."""
    target.script.append(endless)
    site = make()
    site.log(1)

    assert site.collector.flush()
    site.log(2)
    assert site.collector.flush()
    assert site.counted() == {"sent": 4}


def test_events_are_sent_when_the_sink_has_said_so(make: Make, target: Sink) -> None:
    """Also when the rest of its answer does not come: sending them again would double them."""
    target.script.append(stalls)
    site = make(timeout_s=0.2)
    site.log(1)

    assert site.collector.flush()
    assert (len(target.posted), site.counted()) == (1, {"sent": 2})


def test_a_batch_is_given_up_after_its_attempts(make: Make, target: Sink) -> None:
    """With the number of records, not of events, so that the log rests and says why; later ones are sent."""
    target.script.extend([status(503, b"token=abc is\nbusy")] * 3)
    site = make(max_attempts=3)
    site.log(1, 2)
    for _ in range(2):
        site.collector.flush()
        site.clock.now += 30

    with pytest.raises(RecordsLost, match=r"The sink did not take events: 503 token=\*\*\* is busy") as caught:
        site.collector.flush()
    assert caught.value.count == 2
    site.clock.now += 30
    site.log(3)
    assert site.collector.flush()
    assert site.counted() == {"failed": 4, "sent": 2}


@pytest.mark.parametrize("code", [301, 302, 307, 308, 400, 401, 404, 413])
def test_a_refusal_is_final_and_costs_that_batch_only(make: Make, target: Sink, code) -> None:
    """A redirect too: it is not followed, and the secret goes nowhere else."""
    target.script.append(status(code, location=f"http://127.0.0.1:{target.port}/elsewhere"))
    site = make()
    site.log(1)
    assert site.collector.flush()
    site.log(2)
    assert site.collector.flush()

    assert [one.path for one in target.posted] == ["/events", "/events"]
    assert site.counted() == {"failed": 2, "sent": 2}
    assert site.counted(DROPPED_LOG_RECORDS) == {"refused": 1}


def test_a_sink_that_is_away_and_comes_back_misses_nothing(make: Make, target: Sink) -> None:
    """On the same port, after a restart that breaks the kept connection."""
    site = make(max_attempts=100)
    site.log(1)
    assert site.collector.flush()
    target.close()
    for value in (2, 3):
        site.log(value)
        assert not site.collector.flush()
        site.clock.now += 30
    again = Sink(target.port)
    try:
        assert site.collector.flush()
        seen = [event["data"]["inputs"]["x"][0][0] for one in again.posted for event in json.loads(one.body)[::2]]
    finally:
        again.close()
    assert sorted(seen) == [2.0, 3.0]


def test_what_does_not_fit_is_dropped_and_counted(make: Make, target: Sink) -> None:
    """Memory has a bound; what waits already is sent, and an event larger than the bound has its turn alone."""
    target.script.append(status(503))
    site = make(max_waiting_bytes=2000, max_attempts=100)
    site.log(*range(100))
    site.collector.flush()

    dropped = site.counted()["dropped"]
    assert site.collector._bytes <= 2000
    assert site.counted(DROPPED_LOG_RECORDS) == {"queue_full": dropped / 2}
    site.clock.now += 30
    assert site.collector.flush()
    assert site.counted() == {"dropped": dropped, "sent": 200 - dropped}
    assert site.collector._bytes == 0
    site.log(*[1.0])
    assert site.collector.flush()


def test_the_end_sends_the_rest_and_tries_again_while_there_is_time(make: Make, target: Sink) -> None:
    """Batches that are not full, too."""
    target.script.append(status(503))
    site = make(batch_size=1000, batch_interval_s=1000)
    site.log(1, 2, 3)

    site.collector.close(3.0)
    assert [len(json.loads(one.body)) for one in target.posted] == [6, 6]
    assert site.counted() == {"sent": 6}


def test_the_end_keeps_to_its_time_and_says_what_is_lost(make: Make, target: Sink) -> None:
    """A sink that is away does not hold the process."""
    site = make(max_attempts=100, batch_size=2)
    target.close()
    site.log(1, 2, 3)

    with pytest.raises(RecordsLost, match="there was no more time") as caught:
        site.collector.close(3.0)
    assert (caught.value.count, site.clock.now) == (3, 103.0)
    assert site.counted() == {"dropped": 6}


def test_each_record_has_one_outcome(make: Make, target: Sink) -> None:
    """Whether it was sent, refused, lost, or did not fit; none while it waits."""
    site = make(max_attempts=1, batch_size=2, max_waiting_bytes=5000)
    target.script += [status(400), status(503)]
    site.log(1)
    assert site.collector.outcomes() == {}
    site.collector.flush()
    assert site.collector.outcomes() == {Code.FAILED_PRECONDITION: 1}
    site.log(2)
    with pytest.raises(RecordsLost):
        site.collector.flush()
    assert site.collector.outcomes() == {Code.UNAVAILABLE: 1}
    site.clock.now += 60
    site.log(*range(100))
    unfit = site.collector.outcomes()[Code.RESOURCE_EXHAUSTED]
    site.collector.flush()

    assert site.collector.outcomes() == {Code.OK: 100 - unfit}
    assert site.collector.outcomes() == {}


def test_a_refused_record_is_not_counted_as_logged(make: Make, target: Sink) -> None:
    """The writer counts what the collector says, and not what it took."""
    target.script.append(status(400))
    site = make()
    writer = LogWriter("sunk_once", lambda _: record(), lambda: site.collector)
    for _ in range(2):
        writer.offer(Exchange(Method.PREDICT, b"x", b"", 0.0))
        writer.turn()

    cells = METRICS.snapshot().counters[REQUEST_LOG_COUNT.name]
    assert {code: count for (model, code), count in cells.items() if model == "sunk_once"} == {
        "FAILED_PRECONDITION": 1,
        "OK": 1,
    }


def test_an_end_shortens_what_is_on_its_way_and_counts_what_is_lost(make: Make, target: Sink) -> None:
    """A slow sink does not eat the time of the end."""
    target.script += [hangs, hangs]
    site = make(timeout_s=600.0, max_attempts=100)
    writer = LogWriter("sunk", lambda _: record(), lambda: site.collector)
    before = site.counts().get((DROPPED_LOG_RECORDS.name, "storage"), 0.0)
    thread = WriterThread(writer)
    writer.offer(Exchange(Method.PREDICT, b"x", b"", 0.0))
    wait_until(lambda: bool(target.posted), "the sink is asked")
    thread.close(0.5)

    assert thread.join(60)
    assert site.counts()[DROPPED_LOG_RECORDS.name, "storage"] == before + 1


def test_the_secret_comes_from_a_file_or_the_environment(
    make: Make, target: Sink, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is read for each batch, so that it may change; one that goes away meanwhile costs no events."""
    file = tmp_path / "token"
    file.write_text("Bearer one\n")
    monkeypatch.setenv("SINK_TOKEN", "Basic abc")
    from_file, from_variable = make(authorization_file=str(file)), make(authorization_env="SINK_TOKEN")

    from_file.log(1)
    from_file.collector.flush()
    file.unlink()
    from_file.log(2)
    assert not from_file.collector.flush()
    file.write_text("Bearer two")
    from_file.clock.now += 30
    assert from_file.collector.flush()
    from_variable.log(3)
    from_variable.collector.flush()

    assert [one.headers["authorization"] for one in target.posted] == ["Bearer one", "Bearer two", "Basic abc"]


@pytest.mark.parametrize("content", ["", " \n", "a\x00b", "Bearer a\r\nx: y", "Bearer ü"])
def test_a_secret_that_is_no_header_is_refused_without_showing_it(tmp_path: Path, content) -> None:
    """Before anything is sent."""
    file = tmp_path / "token"
    file.write_text(content)

    with pytest.raises(FailedPrecondition, match="does not hold the value of a header") as caught:
        HttpSink("http://sink/", EventSettings(authorization_file=str(file)))
    assert "Bearer" not in str(caught.value)


@pytest.mark.parametrize("settings", [
    {"authorization_file": "/nowhere"}, {"authorization_env": "NOT_SET_ANYWHERE"}, {"ca_file": "/nowhere"}, {"ca_file": __file__},
])  # fmt: skip
def test_settings_that_cannot_be_used_are_an_error_at_the_start(settings) -> None:
    """The log says so, rests, and tries again."""
    with pytest.raises(FailedPrecondition, match="The events cannot be sent"):
        HttpSink("http://sink/", EventSettings(**settings))


def test_a_sink_is_known_by_its_certificate(make: Make, tmp_path: Path) -> None:
    """Of the given authority; another one gets nothing."""
    authority = Authority()
    key, certificate = authority.issue()
    (tmp_path / "pair.pem").write_text(key + certificate)
    (tmp_path / "ca.pem").write_text(authority.certificate)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "pair.pem")

    with sink(context) as target:
        trusting, careful = make(target.url, ca_file=str(tmp_path / "ca.pem")), make(target.url)
        trusting.log(1)
        careful.log(2)
        assert trusting.collector.flush()
        assert not careful.collector.flush()
        assert len(target.posted) == 1
