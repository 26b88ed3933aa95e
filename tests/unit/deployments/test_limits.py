"""Limits of a model at the doors: what each protocol answers, that nothing of it reaches a version, and what it costs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator

import grpc
import pytest

from core.errors import Code, ServingError
from core.routing.admission import TrafficLimits
from core.routing.transport import Call, Method
from tests.support.clients import wait_until
from tests.support.doors.grpc_calls import predict_body
from tests.support.doors.limited_sites import LimitedSite, LimitedSiteMaker, limited_sites
from tests.support.doors.raw_http import RawConnection, request
from tests.support.doors.raw_http2 import PREDICT
from tests.support.infer_bodies import raw_grpc_infer

ONE = TrafficLimits(max_in_flight=1)
SLOW = TrafficLimits(max_requests_per_second=0.01)
V1 = request("POST", "/v1/models/m:predict", b'{"instances": [1.0]}')
V2_BODY = b'{"inputs": [{"name": "x", "shape": [1], "datatype": "FP32", "data": [1.0]}]}'
V2 = request("POST", "/v2/models/m/infer", V2_BODY)
METADATA = request("GET", "/v1/models/m/metadata")
INFER = "/inference.GRPCInferenceService/ModelInfer"
BODIES = {PREDICT: predict_body(), INFER: raw_grpc_infer({})}


@pytest.fixture
def make_site() -> Iterator[LimitedSiteMaker]:
    """Makes routers with both ports."""
    with limited_sites() as make:
        yield make


def named(body: bytes) -> bytes:
    """Return a message of version 2 that names the model."""
    return b"\x0a\x01m" + body


def in_work(site: LimitedSite, count: int = 1) -> None:
    """Wait until requests have reached a version."""
    wait_until(lambda: len(site.transport.calls) == count, "requests are in work")


@pytest.mark.parametrize("way", ["short", "long"])
@pytest.mark.parametrize("content", [V1, V2], ids=["v1", "v2"])
def test_a_request_beyond_those_in_work_is_refused_over_rest(make_site, way, content) -> None:
    """With 429, when to try again, and a connection that goes on."""
    site = make_site(way, ONE)
    release = site.hold()
    with RawConnection(site.port) as busy, RawConnection(site.port) as refused:
        busy.send(content)
        in_work(site)

        replies = [refused.ask(content) for _ in range(3)]
        release()
        assert busy.reply().status == 200
        wait_until(lambda: site.is_idle, "nothing is in work")
        after = refused.ask(content)

    assert {(one.status, one.headers["retry-after"]) for one in replies} == {(429, "1")}
    assert "limited to 1 requests in work (max_in_flight)" in replies[0].error
    assert after.status == 200
    assert (site.refused("in_flight"), len(site.transport.calls)) == (3, 2)


@pytest.mark.parametrize("way", ["short", "long"])
@pytest.mark.parametrize("method", BODIES)
def test_a_call_beyond_those_in_work_is_refused_over_grpc(make_site, way, method) -> None:
    """With RESOURCE_EXHAUSTED, and the time that a client's retry policy waits."""
    site = make_site(way, ONE)
    release = site.hold()
    with RawConnection(site.port) as busy:
        busy.send(V1)
        in_work(site)

        refused = site.call(method, BODIES[method] if method == PREDICT else named(b""))
        release()
        assert busy.reply().status == 200

    assert refused.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "max_in_flight" in refused.details()
    assert dict(refused.trailing_metadata())["grpc-retry-pushback-ms"] == "1000"
    assert site.refused("in_flight") == 1


@pytest.mark.parametrize("way", ["short", "long"])
def test_a_rate_holds_for_all_protocols_together(make_site, way) -> None:
    """One request in a hundred seconds, whichever way it comes; the next ones are told how long to wait."""
    site = make_site(way, SLOW)
    with RawConnection(site.port) as client:
        assert client.ask(V1).status == 200
        replies = [client.ask(content, method) for content, method in ((V1, "POST"), (V2, "POST"), (METADATA, "GET"))]
    call = site.call(PREDICT, BODIES[PREDICT])

    assert {one.status for one in replies} == {429}
    assert all(99 <= int(one.headers["retry-after"]) <= 100 for one in replies)
    assert "limited to 0.01 requests a second (max_requests_per_second)" in replies[0].error
    assert call.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert 98_000 < int(dict(call.trailing_metadata())["grpc-retry-pushback-ms"]) <= 100_000
    assert site.refused("rate") == 4
    assert len(site.transport.calls) == 1


def test_refused_requests_are_counted_as_requests(make_site) -> None:
    """TensorFlow Serving's count of requests has them under their code."""
    site = make_site(limits=SLOW)
    site.forget()
    with RawConnection(site.port) as client:
        for _ in range(3):
            client.ask(V1)
    site.call(PREDICT, BODIES[PREDICT])

    wait_until(lambda: site.counts == {("m", "OK"): 1, ("m", "RESOURCE_EXHAUSTED"): 3}, "all are counted")


def test_other_models_are_not_limited(make_site) -> None:
    """A limit is of one model."""
    site = make_site(limits=SLOW)
    with RawConnection(site.port) as client:
        client.ask(V1)
        assert client.ask(V1).status == 429

        replies = [client.ask(V1.replace(b"/m:", b"/free:")) for _ in range(5)]

    assert {one.status for one in replies} == {200}


@pytest.mark.parametrize("target", ["/v1/models/m:predict", "/v2/models/m/infer"])
@pytest.mark.parametrize("framing", ["Content-Length: 100000000", "Transfer-Encoding: chunked"])
def test_a_large_body_is_refused_before_it_has_come(make_site, target, framing) -> None:
    """The answer comes while the client still sends."""
    site = make_site(limits=SLOW)
    with RawConnection(site.port) as client:
        client.ask(V1)
        client.send(f"POST {target} HTTP/1.1\r\nHost: x\r\n{framing}\r\n\r\n".encode())

        assert client.reply().status == 429


@pytest.mark.parametrize("target", ["/v1/models/m:predict", "/v2/models/m/infer"])
def test_a_connection_goes_on_after_a_body_that_was_refused(make_site, target) -> None:
    """What still comes of the body is dropped, and is no request."""
    site = make_site(limits=SLOW)
    size = 3_000_000
    with RawConnection(site.port) as client:
        client.ask(V1)
        client.send(f"POST {target} HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n\r\n".encode() + b"[" * 1000)
        assert client.reply().status == 429

        client.send(b"[" * (size - 1000))
        after = client.ask(request("GET", "/v1/models/m"), "GET")

    assert after.status == 200
    assert len(site.transport.calls) == 1


def test_a_client_that_asks_before_it_sends_is_refused_without_an_invitation(make_site) -> None:
    """`Expect: 100-continue`: the final answer comes instead of the interim one."""
    site = make_site(limits=SLOW)
    with RawConnection(site.port) as client:
        client.ask(V1)
        head = "POST /v1/models/m:predict HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\nExpect: 100-continue\r\n\r\n"

        assert client.ask(head.encode()).status == 429


def test_requests_that_came_together_on_one_connection_are_answered_in_their_order(make_site) -> None:
    """Refusals that need no waiting do not overtake an answer that does."""
    site = make_site(limits=TrafficLimits(max_requests_per_second=2))
    with RawConnection(site.port) as client:
        client.send(V1 * 20)
        statuses = [client.reply().status for _ in range(20)]

    assert statuses[:2] == [200, 200]
    assert 429 in statuses


def test_limits_of_a_new_table_hold_for_requests_in_work(make_site) -> None:
    """Those that came before there was a limit count, and end under it."""
    site = make_site()
    release = site.hold()
    with RawConnection(site.port) as busy, RawConnection(site.port) as other:
        busy.send(V1)
        in_work(site)

        site.limit(ONE)
        assert other.ask(V1).status == 429
        site.limit(TrafficLimits(max_in_flight=2))
        other.send(V1)
        in_work(site, 2)
        site.limit(TrafficLimits())
        release()
        assert (busy.reply().status, other.reply().status) == (200, 200)
        site.limit(ONE)
        wait_until(lambda: site.is_idle, "nothing is in work")
        assert other.ask(V1).status == 200


def test_routers_share_the_limit_of_a_model(make_site) -> None:
    """Each of three lets in a third of what the model may take."""
    site = make_site()
    site.limit(TrafficLimits(max_in_flight=6), routers=3)
    release = site.hold()
    connections = [RawConnection(site.port) for _ in range(3)]
    for one in connections[:2]:
        one.send(V1)
    in_work(site, 2)

    refused = connections[2].ask(V1)

    release()
    assert [one.reply().status for one in connections[:2]] == [200, 200]
    assert refused.status == 429
    assert "limited to 6 requests in work" in refused.error
    for one in connections:
        one.__exit__()


@pytest.mark.parametrize("content", [V1, V2], ids=["v1", "v2"])
def test_clients_that_leave_make_room(make_site, content) -> None:
    """Otherwise a model would be refused for ever."""
    site = make_site(limits=ONE)
    release = site.hold()
    with RawConnection(site.port) as gone:
        gone.send(content)
        in_work(site)
    wait_until(lambda: site.is_idle, "the call is withdrawn")
    release()

    with RawConnection(site.port) as client:
        assert client.ask(content).status == 200


def test_a_full_router_says_so_with_503(make_site, monkeypatch) -> None:
    """That bound is not of a model: UNAVAILABLE, as before, and when to try again."""
    monkeypatch.setattr("deployments.routing.request_router.MOST_CALLS_IN_FLIGHT", 1)
    site = make_site()
    release = site.hold()
    with RawConnection(site.port) as busy, RawConnection(site.port) as client:
        busy.send(V1)
        in_work(site)

        reply, call = client.ask(V1), site.call(PREDICT, BODIES[PREDICT])
        release()
        assert busy.reply().status == 200

    assert (reply.status, reply.headers["retry-after"]) == (503, "1")
    assert call.code() is grpc.StatusCode.UNAVAILABLE
    assert dict(call.trailing_metadata())["grpc-retry-pushback-ms"] == "1000"
    assert site.refused("full") == 2


async def test_the_rate_holds_for_calls_over_serve_s_handles(make_site) -> None:
    """A router that has no direct connection lets in as few."""
    site = make_site("long", SLOW)
    route = site.router.table.resolve("m", None, None)
    codes = []
    for _ in range(3):
        try:
            codes.append((await site.router.forward(route, Call(Method.REST_PREDICT, b""))).code)
        except ServingError as error:
            codes.append(error.code)
        await asyncio.sleep(0)

    assert codes == [Code.OK, Code.RESOURCE_EXHAUSTED, Code.RESOURCE_EXHAUSTED]


RETRIES = json.dumps(
    {
        "methodConfig": [
            {
                "name": [{}],
                "retryPolicy": {
                    "maxAttempts": 3,
                    "initialBackoff": "60s",
                    "maxBackoff": "60s",
                    "backoffMultiplier": 1,
                    "retryableStatusCodes": ["RESOURCE_EXHAUSTED"],
                },
            }
        ]
    }
)


def test_a_client_with_a_retry_policy_waits_as_long_as_it_is_told(make_site) -> None:
    """Its own pause would be a minute, and the rate lets the next call in after a fifth of a second."""
    site = make_site(limits=TrafficLimits(max_requests_per_second=5))
    options = (("grpc.service_config", RETRIES),)
    with grpc.insecure_channel(f"127.0.0.1:{site.grpc_port}", options=options) as channel:
        predict = channel.unary_unary(PREDICT)

        answers = [predict(BODIES[PREDICT], timeout=30) for _ in range(7)]

    assert len(answers) == len(site.transport.calls) == 7
    assert site.refused("rate") > 0
