"""Version 2 over REST: health, models, readiness, and what a request meets on its way to a version."""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
import random
import threading
import zlib
from collections.abc import Iterator
from dataclasses import replace

import pytest

from core.errors import Code, DeadlineExceeded, Unavailable
from core.oip.metadata import MetadataQuery
from core.oip.path import OipRequest, Operation
from core.oip.rest_body import ALL_JSON, footer
from core.rest.content_coding import Coding
from core.rest.http_answer import HttpAnswer
from core.routing.table import RoutingTable
from core.routing.transport import Answer, Method
from core.telemetry.metrics import Metrics
from core.telemetry.spans import VERSION
from core.versions.lifecycle import State
from deployments.oip import short_infer
from deployments.oip.http_answers import json_document
from deployments.oip.rest_api import OipRest
from deployments.oip.server_facts import ServerFacts
from deployments.rest.api import HttpApi, HttpLimits
from deployments.rest.door import HttpAddress, HttpDoor
from deployments.routing.access_log import AccessLog
from deployments.routing.request_traces import RequestTraces, TracedRouter
from deployments.system.event_loop import LoopThread
from deployments.telemetry.tracing import Tracer
from tests.support.clients import free_port, wait_until
from tests.support.doors.asgi_client import Client
from tests.support.doors.oip_sites import GOOD, JSON_ANSWER, TABLE, OipSite, OipSiteMaker, model_of, with_tensors
from tests.support.doors.raw_http import HOST, RawConnection, chunked, request
from tests.support.fakes import FakeTransport
from tests.support.span_collector import SpanList

INFER = "/v2/models/m/infer"
BODY = b'{"inputs": []}'
LARGE = b'{"data":[%b]}' % b",".join([b"1.5"] * 9000)
"""More than is packed at once."""


@pytest.fixture(scope="module")
def site(make_site: OipSiteMaker) -> OipSite:
    """A port with models in every state."""
    return make_site()


@pytest.fixture(scope="module", params=["short", "long"])
def way(make_site: OipSiteMaker, request: pytest.FixtureRequest) -> OipSite:
    """A port whose requests take the short way where they can, and one where they never do."""
    return make_site(request.param)


@pytest.fixture(autouse=True)
def _anew(request: pytest.FixtureRequest) -> None:
    for name in ("site", "way"):
        if name in request.fixturenames:
            request.getfixturevalue(name).forget()


def get(site: OipSite, target: str):
    return site.ask(request("GET", target), "GET")


def post(site: OipSite, target: str = INFER, body: bytes = BODY, *headers: str):
    return site.ask(request("POST", target, body, *headers))


# Health, models, metadata.


@pytest.mark.parametrize("target", ["/v2", "/v2/", "/v2?x=1"])
def test_the_server_describes_itself(site: OipSite, target: str) -> None:
    """With and without the slash at the end: no client follows a redirect."""
    reply = get(site, target)

    assert reply.status == 200
    assert reply.json.keys() == {"name", "version", "extensions"}
    assert reply.headers["content-type"] == "application/json"


def test_a_server_that_is_ready_says_no_more(site: OipSite) -> None:
    """KServe's bodies, which its client parses."""
    assert (get(site, "/v2/health/live").body, get(site, "/v2/health/ready").body) == (
        b'{"live":true}',
        b'{"ready":true}',
    )


def test_a_server_that_is_not_ready_says_why(make_site: OipSiteMaker) -> None:
    """It lives all the same."""
    site = make_site(table=RoutingTable(1, {"m": model_of(v1=State.LOADING)}, settled=True))
    reply = get(site, "/v2/health/ready")

    assert (reply.status, reply.headers["retry-after"]) == (503, "1")
    assert reply.json == {"ready": False, "reasons": ["m does not answer: version 1 is in state LOADING"]}
    assert get(site, "/v2/health/live").status == 200


@pytest.mark.parametrize(
    ("query", "status"),
    [("", 200), ("?strict=false", 200), ("?strict=0", 200), ("?strict=true", 503), ("?strict=1", 503)],
)
def test_strict_readiness_wants_every_version(site: OipSite, query: str, status: int) -> None:
    """Triton's rule; by ours one model that answers is enough."""
    reply = get(site, f"/v2/health/ready{query}")

    assert reply.status == status
    if status == 503:
        assert "m version 3 is in state LOADING" in reply.json["reasons"]


def test_a_server_that_stops_lives_and_is_not_ready(make_site: OipSiteMaker) -> None:
    """Requests in flight are still answered, so nobody may kill it."""
    site = make_site()
    site.door._api.draining = True

    assert get(site, "/v2/health/live").status == 200
    assert (get(site, "/v2/health/ready").status, get(site, "/v2/health/ready").json["ready"]) == (503, False)
    assert get(site, "/v2/health/ready").json["reasons"][0] == "the server is stopping"


def test_models_are_listed_by_name(site: OipSite) -> None:
    """In KServe's form."""
    assert get(site, "/v2/models").json == {"models": ["gone", "loading", "m"]}


@pytest.mark.parametrize(
    ("target", "status", "text"),
    [
        ("/v2/models/m/ready", 200, ""),
        ("/v2/models/m/versions/1/ready", 200, ""),
        ("/v2/models/m/labels/stable/ready", 200, ""),
        ("/v2/models/m/versions/3/ready", 503, "Request for model 'm' version 3 that is not ready"),
        ("/v2/models/m/versions/4/ready", 503, "Request for model 'm' version 4 that is not ready"),
        ("/v2/models/m/labels/next/ready", 503, "Request for model 'm' version 3 that is not ready"),
        ("/v2/models/loading/ready", 503, "Request for model 'loading' that is not ready"),
        ("/v2/models/gone/ready", 404, "Request for unknown model: 'gone' has no available versions"),
        ("/v2/models/m/versions/9/ready", 404, "Request for unknown model: 'm' version 9 is not found"),
        ("/v2/models/m/labels/none/ready", 404, "Request for unknown model: 'm' label 'none' is not found"),
        ("/v2/models/none/ready", 404, "Request for unknown model: 'none' is not found"),
    ],
)
def test_a_model_is_ready_while_a_version_answers(site: OipSite, target: str, status: int, text: str) -> None:
    """In KServe's form; with the error of a request that is sent to it all the same."""
    reply = get(site, target)

    assert reply.status == status
    assert (reply.json["name"], reply.json["ready"]) == (target.split("/")[3], status == 200)
    assert reply.json.get("error", "") == text
    assert ("retry-after" in reply.headers) is (status == 503)


def test_a_version_that_only_this_router_knows_is_not_ready_yet(make_site: OipSiteMaker) -> None:
    """The next request may reach another router."""
    early = replace(model_of(1), statuses=model_of(v1=State.LOADING).statuses)
    site = make_site(table=RoutingTable(1, {"m": early}, settled=True))

    assert get(site, "/v2/models/m/ready").error == "Request for model 'm' version 1 that is not ready"
    assert post(site).status == 200


@pytest.mark.parametrize(
    ("target", "query", "version"),
    [
        ("/v2/models/m", MetadataQuery(("1", "2")), 2),
        ("/v2/models/m?signature_name=s%20t", MetadataQuery(("1", "2"), "s t"), 2),
        ("/v2/models/m?signature_name=%FF", MetadataQuery(("1", "2"), "\udcff"), 2),
        ("/v2/models/m/versions/1", MetadataQuery(("1",)), 1),
        ("/v2/models/m/labels/stable?signature_name=s", MetadataQuery(("1",), "s"), 1),
    ],
)
def test_metadata_comes_from_a_version(site: OipSite, target: str, query: MetadataQuery, version: int) -> None:
    """Which lists the version that the URL names, or all that answer, in rising order."""
    site.forget(Answer(Code.OK, b'{"name":"m"}'))
    reply = get(site, target)
    ((route, call),) = site.transport.calls

    assert (reply.status, reply.body) == (200, b'{"name":"m"}')
    assert (call.method, MetadataQuery.from_bytes(call.body), call.timeout_s) == (
        Method.OIP_REST_METADATA,
        query,
        30.0,
    )
    assert route.servable.version == version


# Inference.


@pytest.mark.parametrize(
    ("target", "version"),
    [(INFER, 2), ("/v2/models/m/versions/1/infer", 1), ("/v2/models/m/labels/stable/infer", 1), (INFER + "?x=1", 2)],
)
def test_a_body_goes_to_the_version_that_is_asked_for(way: OipSite, target: str, version: int) -> None:
    """As it is, with the length of its JSON behind it: all of it, where no header says so."""
    reply = post(way, target)
    ((route, call),) = way.transport.calls

    assert (reply.status, reply.body, reply.headers["content-type"]) == (200, JSON_ANSWER, "application/json")
    assert (bytes(call.body), call.method) == (BODY + footer(ALL_JSON), Method.OIP_REST_INFER)
    assert route.servable.version == version
    assert way.counts == {("m", "OK"): 1}


@pytest.mark.parametrize("size", [0, 100, 100_000, 3_000_000])
def test_a_body_of_any_size_is_whole(way: OipSite, size: int) -> None:
    """Also where it begins on one way and goes on on the other."""
    body = BODY + bytes(size)
    post(way, INFER, body, f"Inference-Header-Content-Length: {len(BODY)}")

    assert [bytes(call.body) for _, call in way.transport.calls] == [body + footer(len(BODY))]


@pytest.mark.parametrize("name", ["Inference-Header-Content-Length", "inference-header-content-length"])
@pytest.mark.parametrize("length", [0, 1, len(BODY), len(BODY) + 3])
def test_the_length_of_the_json_goes_along(way: OipSite, name: str, length: int) -> None:
    """In any case of its name."""
    post(way, INFER, BODY + b"\1\2\3", f"{name}: {length}")

    assert [bytes(call.body) for _, call in way.transport.calls] == [BODY + b"\1\2\3" + footer(length)]


@pytest.mark.parametrize("value", ["-1", "18", "x", "1.0", "0x1", "+3", "9" * 30, "1 1", "\u00b2"])
def test_an_impossible_length_is_refused(way: OipSite, value: str) -> None:
    """With both numbers; the connection goes on."""
    bad = request("POST", INFER, BODY + b"\1\2\3", f"Inference-Header-Content-Length: {value}")
    with way.connect() as connection:
        refused = connection.ask(bad)
        assert connection.ask(request("POST", INFER, BODY)).status == 200

    assert refused.status == 400
    assert refused.error.startswith("Inference-Header-Content-Length is ")
    assert "not a number of bytes from 0 to 17, the size of the body" in refused.error
    assert way.counts == {("m", "INVALID_ARGUMENT"): 1, ("m", "OK"): 1}


@pytest.mark.parametrize("size", [10, 300_000])
def test_raw_tensors_come_with_the_length_of_their_json(way: OipSite, size: int) -> None:
    """The body is JSON and tensors, without the footer that model servers write."""
    json_part, raw = b'{"outputs":[]}', bytes(range(10)) * (size // 10)
    way.forget(with_tensors(json_part, raw))
    reply = post(way)

    assert reply.body == json_part + raw
    assert reply.headers["inference-header-content-length"] == "14"
    assert reply.headers["content-type"] == "application/octet-stream"


def test_the_type_of_a_request_is_never_looked_at(way: OipSite) -> None:
    """Clients send JSON without one, and raw tensors as JSON."""
    for kind in ("application/json", "application/octet-stream", "text/plain; charset=latin-1", "", "nonsense"):
        assert post(way, INFER, BODY, f"Content-Type: {kind}").status == 200


def test_a_body_in_chunks_is_put_together(site: OipSite) -> None:
    """The length of the JSON is checked against the whole."""
    assert site.ask(chunked("POST", INFER, BODY[:5], BODY[5:])).status == 200
    assert [bytes(call.body) for _, call in site.transport.calls] == [BODY + footer(ALL_JSON)]


@pytest.mark.parametrize(
    ("content", "answer"),
    [
        (request("POST", INFER, BODY), None),
        (request("POST", INFER, BODY), with_tensors(b"{}", b"123")),
        (request("POST", INFER, BODY, "Accept-Encoding: deflate"), with_tensors(b"{}", bytes(2000))),
        (request("POST", INFER, BODY, "Connection: close"), None),
        (request("POST", "/v2/models/none/infer", b"nonsense"), None),
        (request("POST", "/v2/models/m/labels/none/infer", BODY), None),
        (request("POST", "/v2/models/m/versions/3/infer", BODY), None),
        (request("POST", "/v2/models/m/versions/x/infer", BODY), None),
        (request("POST", INFER), None),
        (request("POST", INFER, BODY, "Inference-Header-Content-Length: 99"), None),
        (request("POST", INFER, BODY), Answer(Code.INVALID_ARGUMENT, "n\u00e4in".encode())),
        (request("POST", INFER, BODY), Unavailable("full")),
        (request("POST", INFER, BODY), DeadlineExceeded("late")),
    ],
)
@pytest.mark.parametrize("cors", [False, True])
def test_both_ways_give_the_same_answer_and_count(
    make_site: OipSiteMaker, content: bytes, answer, *, cors: bool
) -> None:
    """A client cannot tell which way its request took; nor can an operator."""
    ways = [make_site(kind, cors=cors) for kind in ("short", "long")]
    replies = []
    for site in ways:
        site.forget(answer)
        reply = site.ask(content)
        del reply.headers["date"]
        replies.append(reply)

    assert replies[0] == replies[1]
    assert ways[0].counts == ways[1].counts
    assert [call for _, call in ways[0].transport.calls] == [call for _, call in ways[1].transport.calls]
    assert all(site.is_idle for site in ways)


def test_a_large_body_for_an_unknown_model_leaves_a_connection_that_lives(site: OipSite) -> None:
    """Whether its size was announced or not; what of it nobody wants is dropped."""
    large = bytes(3_000_000)
    with site.connect() as connection:
        for content in (
            request("POST", "/v2/models/none/infer", large),
            chunked("POST", "/v2/models/none/infer", large, large),
            request("POST", "/v2/none", large),
            request("PUT", INFER, large),
        ):
            assert connection.ask(content).status in {404, 405}
        assert connection.ask(request("POST", INFER, BODY)).body == JSON_ANSWER


def test_a_body_that_never_ends_leaves_nothing_when_its_client_goes(site: OipSite) -> None:
    """Neither a call nor a request in flight."""
    for content in (request("POST", INFER, bytes(5000))[:-1], chunked("POST", INFER, BODY)[:-5]):
        with site.connect() as connection:
            connection.send(content)

    wait_until(lambda: not site.door._server.server_state.connections, "the connections are gone")
    assert site.transport.calls == []
    assert site.is_idle


# Compression.


@pytest.mark.parametrize(("coding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
@pytest.mark.parametrize("count", [1, 100_000])
def test_a_packed_body_is_unpacked(site: OipSite, coding: str, pack, count: int) -> None:
    """The length is that of the JSON before it was packed; a large one is unpacked in a thread."""
    raw = random.Random(1).randbytes(count)
    packed = pack(BODY + raw)
    post(site, INFER, packed, f"Content-Encoding: {coding}", f"Inference-Header-Content-Length: {len(BODY)}")

    assert [bytes(call.body) for _, call in site.transport.calls] == [BODY + raw + footer(len(BODY))]


@pytest.mark.parametrize(("coding", "unpack"), [("gzip", gzip.decompress), ("deflate", zlib.decompress)])
@pytest.mark.parametrize("size", [1024, 300_000])
def test_an_answer_is_packed_as_its_client_asks(way: OipSite, coding: str, unpack, size: int) -> None:
    """The length of the JSON is that of the unpacked one."""
    raw = bytes(size)
    way.forget(with_tensors(b"{}", raw))
    reply = post(way, INFER, BODY, f"Accept-Encoding: {coding}")

    assert reply.headers["content-encoding"] == coding
    assert reply.headers["inference-header-content-length"] == "2"
    assert reply.headers["vary"] == "Accept-Encoding"
    assert unpack(reply.body) == b"{}" + raw
    assert len(reply.body) < size


@pytest.mark.parametrize(
    ("accepted", "body"),
    [
        ("gzip", b"x" * 1023),
        ("identity", b"x" * 5000),
        ("gzip;q=0, deflate;q=0", b"x" * 5000),
        ("br", b"x" * 5000),
        ("identity, gzip;q=0.5", LARGE),
    ],
)
def test_an_answer_stays_as_it_is(way: OipSite, accepted: str, body: bytes) -> None:
    """Where it is small, or its client prefers that."""
    way.forget(Answer(Code.OK, body + footer(ALL_JSON)))
    reply = post(way, INFER, BODY, f"Accept-Encoding: {accepted}")

    assert reply.body == body
    assert "content-encoding" not in reply.headers


def test_a_large_answer_is_packed_while_the_port_closes(make_site: OipSiteMaker) -> None:
    """It is not lost; nothing else on the connection overtakes it."""
    site = make_site()
    site.forget(Answer(Code.OK, LARGE + footer(ALL_JSON)))
    good = request("POST", INFER, BODY, "Accept-Encoding: gzip")
    with site.connect() as connection:
        connection.send(good * 3)
        replies = [connection.reply() for _ in range(3)]
        gate = site.hold()
        connection.send(good)
        wait_until(lambda: len(site.transport.calls) == 4, "the last call is on its way")
        draining = site.loop.run(site.door.drain(60.0))
        wait_until(lambda: site.door._api.draining, "the door drains")
        gate()
        replies.append(connection.reply())
        draining.result(60)

    assert [gzip.decompress(one.body) for one in replies] == [LARGE] * 4
    assert replies[-1].headers["connection"] == "close"


def test_a_client_that_goes_while_its_answer_is_packed_leaves_nothing(
    make_site: OipSiteMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither a request in flight nor a connection, nor work on the answer."""
    began, ended = threading.Event(), threading.Event()

    async def endless(answer: HttpAnswer, coding: Coding) -> HttpAnswer:
        began.set()
        try:
            return await asyncio.get_running_loop().create_future()
        finally:
            ended.set()

    monkeypatch.setattr(short_infer, "in_coding", endless)
    site = make_site()
    site.forget(Answer(Code.OK, LARGE + footer(ALL_JSON)))
    with site.connect() as connection:
        connection.send(request("POST", INFER, BODY, "Accept-Encoding: gzip"))
        assert began.wait(60)

    assert ended.wait(60)
    wait_until(lambda: not site.door._server.server_state.connections, "the connection is gone")
    assert site.is_idle


def test_answers_of_version_1_are_never_packed(way: OipSite) -> None:
    """TensorFlow Serving sends them as they are."""
    way.forget(Answer(Code.OK, LARGE))
    reply = post(way, "/v1/models/m:predict", BODY, "Accept-Encoding: gzip")

    assert reply.body == LARGE


# Other origins.


@pytest.mark.parametrize("kind", ["short", "long"])
def test_scripts_of_other_origins_may_ask(make_site: OipSiteMaker, kind: str) -> None:
    """If the flag says so: with the length of their JSON, and they may read that of the answer."""
    site = make_site(kind, cors=True)
    asked = site.ask(request("OPTIONS", INFER, b"", "Origin: http://x"), "OPTIONS")
    site.forget(with_tensors(b"{}", b"\1"))
    reply = post(site)

    assert asked.status == 200
    assert asked.headers["access-control-allow-origin"] == "*" == reply.headers["access-control-allow-origin"]
    assert reply.headers["access-control-expose-headers"] == "Inference-Header-Content-Length"
    assert get(site, "/v2/health/live").headers["access-control-allow-origin"] == "*"
    assert post(site, "/v2/models/none/infer").headers["access-control-allow-origin"] == "*"


def test_a_preflight_allows_the_header_of_lengths(make_site: OipSiteMaker) -> None:
    """Beside those that version 1 allows."""
    with make_site(cors=True).connect() as connection:
        connection.send(request("OPTIONS", INFER, b"", "Origin: http://x"))
        head = connection.socket.recv(4096).lower()

    assert b"access-control-allow-headers: content-type\r\n" in head
    assert b"access-control-allow-headers: inference-header-content-length, content-encoding\r\n" in head


def test_without_the_flag_other_origins_are_not_mentioned(way: OipSite) -> None:
    """And OPTIONS is a method like others that are not possible."""
    way.forget(with_tensors(b"{}", b"\1"))

    assert not [name for name in post(way).headers if name.startswith("access-control")]
    assert way.ask(request("OPTIONS", INFER, b"", "Origin: http://x"), "OPTIONS").status == 405


# Counts, logs, traces.


def test_requests_are_counted_for_the_model_that_they_name(site: OipSite) -> None:
    """Those that name none, as probes of health, are not."""
    for target in ("/v2/health/ready", "/v2", "/v2/models", "/v2/x", "/v2/models/m/infer"):
        get(site, target)
    get(site, "/v2/models/m/ready")
    get(site, "/v2/models/none")
    post(site)

    assert site.counts == {("m", "OK"): 2, ("none", "NOT_FOUND"): 1}
    latencies = site.metrics.snapshot().distributions[":tensorflow:serving:request_latency"]
    assert set(latencies) == {("m", "infer", "REST"), ("m", "", "REST")}


class FollowedSite:
    """A port whose requests are all logged and traced."""

    def __init__(self) -> None:
        self.spans = SpanList()
        router = TracedRouter("r", FakeTransport(GOOD), Metrics())
        router.apply(TABLE)
        others = (OipRest(ServerFacts(router, lambda: False), HttpLimits()),)
        traces = RequestTraces(Tracer(1.0, self.spans))
        api = HttpApi(router, HttpLimits(), "t", access=AccessLog(1.0), traces=traces, others=others)
        self.port = free_port()
        self.door = HttpDoor(HttpAddress(HOST, self.port), api, "t")


@pytest.fixture
def followed() -> Iterator[FollowedSite]:
    """A port whose requests are all logged and traced."""
    site, loop = FollowedSite(), LoopThread("followed")
    loop.run(site.door.open()).result(60)
    yield site
    loop.run(site.door.drain(1.0)).result(60)
    loop.stop()
    loop.join(60)


@pytest.mark.parametrize(
    ("method", "target", "line", "name", "version"),
    [
        ("POST", INFER, "method=infer model=m version=2 label=None", "/v2/models/{model}/infer", 2),
        (
            "POST",
            "/v2/models/m/labels/stable/infer",
            "method=infer model=m version=1 label=stable",
            "/v2/models/{model}/labels/{label}/infer",
            1,
        ),
        (
            "GET",
            "/v2/models/m/versions/1",
            "method=metadata model=m version=1 label=None",
            "/v2/models/{model}/versions/{version}",
            1,
        ),
        (
            "POST",
            "/v2/models/none/infer",
            "method=infer model=none version=None label=None",
            "/v2/models/{model}/infer",
            None,
        ),
        ("GET", "/v2/health/ready?strict=true", "method=ready model= version=None", "/v2/health/ready", None),
        ("GET", "/v2/none", "method=GET model= version=None", "", None),
    ],
)
def test_logs_and_traces_name_a_request_for_what_it_does(
    followed: FollowedSite,
    method: str,
    target: str,
    line: str,
    name: str,
    version: int | None,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """With the version that answered, and the pattern of its path."""
    caplog.set_level(logging.INFO, "deployments.routing.access_log")
    with RawConnection(followed.port) as connection:
        connection.ask(request(method, target, BODY if method == "POST" else b""), method)
    wait_until(lambda: bool(caplog.messages), "the line is written")
    wait_until(lambda: any(one.name.startswith(method) for one in followed.spans.spans), "the span has ended")
    span = next(one for one in followed.spans.spans if one.name.startswith(method))

    assert f"request protocol=rest {line}" in caplog.messages[0]
    assert span.name == f"{method} {name}".rstrip()
    assert span.attributes.get("http.route", "") == name
    assert span.attributes.get(VERSION) == version


# Other ways in, and the parts of others.


async def test_other_http_servers_reach_version_2() -> None:
    """As Serve's own proxy, which knows no fragments and hands over the same application."""
    client = Client(table=TABLE)
    client.api.others = (OipRest(ServerFacts(client.router, lambda: False), HttpLimits()),)
    client.transport.answer = GOOD

    live = await client.send("GET", "/v2/health/live", by_front_door=False)
    inferred = await client.send("POST", "/v2/models/m/infer?x=1", [BODY[:3], BODY[3:]], by_front_door=False)
    received = client.received
    unknown = await client.send("POST", "/v2/models/none/infer", BODY, by_front_door=False)

    assert (live.status, live.body) == (200, b'{"live":true}')
    assert (inferred.status, inferred.body) == (200, JSON_ANSWER)
    assert unknown.status == 404
    assert client.received == received, "nothing of the last body was read"


async def test_a_client_that_goes_gets_no_answer() -> None:
    """Its call is withdrawn."""
    client = Client(table=TABLE)
    client.api.others = (OipRest(ServerFacts(client.router, lambda: False), HttpLimits()),)
    client.transport.sends_at_once = False
    client.transport.hold()
    asking = asyncio.create_task(client.send("POST", INFER, BODY))
    while not client.transport.calls:
        await asyncio.sleep(0)
    client.disconnect.set()

    assert await asyncio.wait_for(asking, 60) is None
    assert client.transport.cancelled == 1


def test_extensions_are_answered_by_their_handlers(make_site: OipSiteMaker) -> None:
    """With the body of a POST, unpacked; what they raise is an answer; one without a handler is not offered."""
    seen: list[tuple[OipRequest, bytes]] = []

    async def note(request: OipRequest, body: bytes) -> HttpAnswer:
        seen.append((request, body))
        return json_document([])

    async def fail(_: OipRequest, __: bytes) -> HttpAnswer:
        raise Unavailable("later")

    handlers = {Operation.INDEX: note, Operation.STATISTICS: note, Operation.LOAD: fail}
    site = make_site(handlers=handlers)
    index = post(site, "/v2/repository/index", gzip.compress(b"{}"), "Content-Encoding: gzip")
    statistics = get(site, "/v2/models/stats")
    load = post(site, "/v2/repository/models/m/load", b"")
    unload = post(site, "/v2/repository/models/m/unload", b"")

    assert (index.status, index.body, statistics.status) == (200, b"[]", 200)
    assert seen == [(OipRequest(Operation.INDEX), b"{}"), (OipRequest(Operation.STATISTICS), b"")]
    assert (load.status, load.error, load.headers["retry-after"]) == (503, "later", "1")
    assert (unload.status, unload.error) == (501, "unload is not offered by this server")


def test_a_head_has_the_answer_of_a_get_without_its_body(site: OipSite) -> None:
    """Monitoring tools ask so."""
    for target in ("/v2", "/v2/health/live", "/v2/models/m/ready"):
        with site.connect() as connection:
            reply = connection.ask(request("HEAD", target), "HEAD")
            assert (reply.status, reply.body) == (200, b"")
            assert connection.ask(request("GET", target), "GET").status == 200


def test_names_that_are_not_utf_8_are_answered(site: OipSite) -> None:
    """In JSON that parsers take."""
    for target in ("/v2/models/%FF%FE", "/v2/models/%FF/ready", "/v2/models/m/labels/%FF", "/v2/models/%ED%A0%80"):
        reply = get(site, target)
        assert reply.status == 404
        assert json.loads(reply.body.decode("utf-8"))["error"].startswith("Request for unknown model")


def test_an_answer_that_cannot_be_written_costs_its_request_only(way: OipSite) -> None:
    """A model server's answer without the length of its JSON: the client hears so, and its connection goes on."""
    way.forget(Answer(Code.OK, b"{}"))
    with way.connect() as connection:
        reply = connection.ask(request("POST", INFER, BODY))
        assert (reply.status, "length of its JSON" in reply.body.decode()) == (500, True)

        way.forget(GOOD)
        assert connection.ask(request("POST", INFER, BODY)).status == 200


def test_a_load_ends_when_its_client_has_gone(make_site: OipSiteMaker) -> None:
    """It would wait for a model that may take minutes, for nobody."""
    begun, ended = threading.Event(), threading.Event()

    async def load(asked: OipRequest, body: bytes) -> HttpAnswer:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return HttpAnswer(200)

    site = make_site(handlers={Operation.LOAD: load})
    with site.connect() as connection:
        connection.send(request("POST", "/v2/repository/models/m/load"))
        wait_until(begun.is_set, "the load has begun")
    wait_until(ended.is_set, "the load has ended")

    assert site.ask(request("GET", "/v2/health/live"), "GET").status == 200
