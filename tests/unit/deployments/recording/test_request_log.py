"""Tests of the request log of a model server, with files on a real disk."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from core.config.model_config import BatchingParameters, LoggingConfig, TaskSampling
from core.config.server_settings import RequestLogSettings
from core.errors import Code
from core.events.settings import EventSettings
from core.routing.transport import Answer, Call, Method
from deployments.inference.batched_execution import BatchedExecution
from deployments.inference.execution import Execution
from deployments.recording.request_log import LogSource, RequestLog
from tests.support.clients import wait_until
from tests.support.event_sinks import hangs, sink
from tests.support.extension_packages import install_example, on_path
from tests.support.fakes import FakeLoaded
from tests.support.infer_bodies import FORMS, infer_call
from tests.support.prediction_logs import predict_request, read_logs
from tests.support.served_models import half_plus_two

BODY = b'{"instances": [[2.0]]}'
CALL = Call(Method.REST_PREDICT, BODY)
ANSWER = Answer(Code.OK, b'{"predictions": [[3.0]]}')

Make = Callable[..., RequestLog]


@pytest.fixture
def make() -> Iterator[Make]:
    """Make request logs, which end with the test."""
    made: list[RequestLog] = []

    def make(settings: RequestLogSettings | None = None) -> RequestLog:
        source = LogSource(half_plus_two(), "replica", frozenset({"serve"}), settings or RequestLogSettings())
        made.append(RequestLog(source, random.Random(5).random))
        return made[-1]

    yield make
    for one in made:
        one.close(10)


def config(folder: Path, rate: float = 1.0, collector: str = "", **more: object) -> LoggingConfig:
    """Configure a log in a folder."""
    return LoggingConfig(collector, f"{folder}/h2", rate, **more)


def test_requests_are_logged_as_records(make: Make, tmp_path: Path) -> None:
    """Files appear when the log is closed at the latest."""
    log = make(RequestLogSettings(dc="aa"))
    log.configure([config(tmp_path)])
    log.record(CALL, ANSWER)
    log.record(Call(Method.PREDICT, bytearray(predict_request(1.0).SerializeToString())), Answer(Code.OK, bytearray()))

    assert log.close(10)

    first, second = read_logs(tmp_path)
    assert first.predict_log.request.inputs["x"].tensor_shape.dim[0].size == 1
    assert second.predict_log.request == predict_request(1.0)
    assert (first.log_metadata.dc, list(first.log_metadata.saved_model_tags)) == ("aa", ["serve"])


def test_requests_are_logged_as_lines(make: Make, tmp_path: Path) -> None:
    """The same, for people."""
    log = make()
    log.configure([config(tmp_path, collector="json_lines")])
    log.record(CALL, ANSWER)
    log.close(10)

    (file,) = tmp_path.glob("h2-*.jsonl")
    line = json.loads(file.read_text())
    assert line["request"]["inputs"] == {"x": [[2.0]]}
    assert line["response"]["outputs"] == {"y": [[3.0]]}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("collector", ["", "json_lines"])
async def test_inferences_of_the_open_inference_protocol_are_logged(
    make: Make, tmp_path: Path, form: str, collector: str
) -> None:
    """As predictions, in every form of the log."""
    log = make()
    log.configure([config(tmp_path, collector=collector)])
    execution = Execution(FakeLoaded(half_plus_two()), 1)
    execution.answering.on_answer = log.record

    answer = await execution.call(infer_call(form, {"x": np.array([[2.0]], np.float32)}, outputs=("y",)))

    execution.close()
    log.close(10)
    assert answer.code is Code.OK
    if collector:
        (file,) = tmp_path.glob("h2-*.jsonl")
        line = json.loads(file.read_text())
        assert line["method"] == "predict"
        assert line["request"] == {"inputs": {"x": [[2.0]]}, "output_filter": ["y"]}
        assert line["response"]["outputs"].keys() == {"y"}
    else:
        (record,) = read_logs(tmp_path)
        assert record.predict_log.request.inputs["x"].tensor_shape.dim[0].size == 1
        assert record.predict_log.response.outputs.keys() == {"y"}


@pytest.mark.parametrize("form", FORMS)
async def test_requests_of_every_protocol_become_the_same_events(make: Make, form: str) -> None:
    """At a real sink, with the names of TensorFlow Serving's messages; REST, gRPC and the Open Inference Protocol."""
    log = make()
    execution = Execution(FakeLoaded(half_plus_two()), 1)
    execution.answering.on_answer = log.record
    grpc_call = Call(Method.PREDICT, bytearray(predict_request(2.0).SerializeToString()))
    with sink() as target:
        log.configure([LoggingConfig("cloudevents", target.url, 1.0)])
        for call in (CALL, grpc_call, infer_call(form, {"x": np.array([[2.0]], np.float32)}, outputs=("y",))):
            assert (await execution.call(call)).code is Code.OK
        execution.close()
        assert log.close(10)
        events = [event for one in target.posted for event in json.loads(one.body)]

    assert [one["type"].rpartition(".")[2] for one in events] == ["request", "response"] * 3
    assert [one["data"]["inputs"] for one in events[::2]] == [{"x": [[2.0]]}] * 3
    assert all(one["data"]["outputs"]["y"] for one in events[1::2])
    assert len({one["id"] for one in events}) == 3


def test_a_sink_that_hangs_holds_no_request_up_and_no_end(make: Make) -> None:
    """Offering takes no longer than with a file, and closing no longer than it may."""
    log = make()
    with sink() as target:
        target.script.extend([hangs] * 100)
        log.configure([LoggingConfig("cloudevents", target.url, 1.0, events=EventSettings(batch_interval_s=0))])
        log.record(CALL, ANSWER)
        wait_until(lambda: bool(target.posted), "the sink has the first events")
        began_s = time.perf_counter()
        for _ in range(1000):
            log.record(CALL, ANSWER)
        offered_s = time.perf_counter() - began_s
        log.close(0.2)
        took_s = time.perf_counter() - began_s

    assert offered_s < 1
    assert took_s < 5


def test_a_log_whose_sink_cannot_be_used_says_so_and_goes_on(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    """As one whose folder is not there; its records are counted as lost."""
    log = make()
    log.configure([LoggingConfig("cloudevents", "http://sink/", 1.0, events=EventSettings(ca_file="/nowhere"))])
    log.record(CALL, ANSWER)
    assert log.close(10)

    assert "request_log_not_written model=h2" in caplog.text
    assert "The events cannot be sent: [Errno 2] No such file or directory" in caplog.text


def test_only_a_share_is_logged(make: Make, tmp_path: Path) -> None:
    """Each request is drawn on its own."""
    log = make()
    log.configure([config(tmp_path, 0.25)])
    for _ in range(400):
        log.record(CALL, ANSWER)
    log.close(10)

    assert 60 < len(read_logs(tmp_path)) < 140


def test_the_server_knows_which_task_it_is(make: Make, tmp_path: Path) -> None:
    """Exceptions of the configuration are for servers by name."""
    log = make(RequestLogSettings(dc="aa", task_index=3))
    log.configure([config(tmp_path, 0.0, per_task=(TaskSampling("aa", 3, 1.0),))])
    log.record(CALL, ANSWER)
    log.close(10)

    assert len(read_logs(tmp_path)) == 1


def test_several_logs_get_samples_of_their_own(make: Make, tmp_path: Path) -> None:
    """All are asked for every request."""
    (tmp_path / "b").mkdir()
    log = make()
    log.configure([config(tmp_path, 0.5), config(tmp_path / "b")])
    for _ in range(100):
        log.record(CALL, ANSWER)
    log.close(10)

    assert 25 < len(read_logs(tmp_path)) < 75
    assert len(read_logs(tmp_path / "b")) == 100


def test_a_new_rate_counts_at_once(make: Make, tmp_path: Path) -> None:
    """What was taken under the old one is still written."""
    log = make()
    log.configure([config(tmp_path)])
    log.record(CALL, ANSWER)
    log.configure([config(tmp_path, 0.0)])
    for _ in range(20):
        log.record(CALL, ANSWER)
    log.configure([])
    log.record(CALL, ANSWER)
    log.configure([config(tmp_path)])
    log.record(CALL, ANSWER)
    log.close(10)

    assert len(read_logs(tmp_path)) == 2


def test_a_log_is_on_while_one_is_configured(make: Make, tmp_path: Path) -> None:
    """Off, it costs nothing."""
    log = make()
    assert not log.is_on

    log.configure([config(tmp_path)])
    assert log.is_on

    log.configure([])
    assert not log.is_on


def test_questions_about_a_model_are_not_logged(make: Make, tmp_path: Path) -> None:
    """Metadata is no inference."""
    log = make()
    log.configure([config(tmp_path)])
    log.record(Call(Method.GET_MODEL_METADATA, b""), Answer(Code.OK, b""))
    log.record(Call(Method.REST_METADATA, b""), Answer(Code.OK, b""))
    log.close(10)

    assert list(tmp_path.iterdir()) == []


def batched(loaded: FakeLoaded) -> BatchedExecution:
    """Batch, without Serve, which is not there."""
    return BatchedExecution(loaded, BatchingParameters(), through=lambda work, _limit, _slots: work)


@pytest.mark.parametrize("kind", [lambda loaded: Execution(loaded, 1), batched], ids=["alone", "batched"])
async def test_what_an_execution_answers_is_logged(make: Make, tmp_path: Path, kind) -> None:
    """Requests that fail are not: a record has no place for an error."""
    log = make()
    log.configure([config(tmp_path)])
    execution = kind(FakeLoaded(half_plus_two()))
    execution.answering.on_answer = log.record

    await execution.call(CALL)
    await execution.call(Call(Method.REST_PREDICT, b"{"))
    execution.answering.on_answer = None
    await execution.call(CALL)

    execution.close()
    log.close(10)
    assert len(read_logs(tmp_path)) == 1


def test_a_collector_of_a_package_gets_the_records(make: Make, tmp_path: Path) -> None:
    """It is made of the configuration and of who logs; without the package, records are dropped."""
    (tmp_path / "packages").mkdir()
    install_example(tmp_path / "packages")
    with on_path(tmp_path / "packages"):
        log = make()
        log.configure([config(tmp_path, collector="csv")])
        log.record(CALL, ANSWER)
        assert log.close(10)

    (line,) = (tmp_path / "h2-replica.csv").read_text().splitlines()
    assert line.split(",")[1:4] == ["h2", "123", "predict"]


def test_a_collector_that_is_not_installed_here_drops_records(
    make: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Requests are answered all the same, and the log of this process says why nothing is logged."""
    log = make()
    log.configure([config(tmp_path, collector="csv")])
    log.record(CALL, ANSWER)

    assert log.close(10)
    assert "log collector csv: is not installed on this node" in caplog.text


def test_headers_of_a_request_reach_logs_that_keep_them_and_no_others(make: Make, tmp_path: Path) -> None:
    """An event has them as an attribute; a file's record is the same with and without."""
    log = make()
    with sink() as target:
        log.configure([LoggingConfig("cloudevents", target.url, 1.0), config(tmp_path, collector="json_lines")])
        log.record(CALL._replace(headers=(("x-tenant", "a"),)), ANSWER)
        log.record(CALL, ANSWER)
        assert log.close(10)
        events = [event for one in target.posted for event in json.loads(one.body)]

    assert [one.get("metadata") for one in events] == ['{"x-tenant":["a"]}'] * 2 + [None] * 2
    (file,) = tmp_path.glob("h2-*.jsonl")
    first, second = (json.loads(line) for line in file.read_text().splitlines())
    assert {**first, "time": ""} == {**second, "time": ""}
