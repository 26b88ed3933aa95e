"""Divided requests at the doors: every protocol and every way chooses the same version for a key, and says which."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace

import grpc
import pytest

from core.delivery.arm_counts import Tally
from core.delivery.choice import key_hash
from core.delivery.split import WHOLE, ArmKey, Division
from core.errors import Code, DeadlineExceeded
from core.grpc.model_spec import peek
from core.protos import oip_pb2, serving_pb2
from core.routing.table import RoutingTable
from core.routing.transport import Answer
from core.telemetry.metric_names import REQUEST_COUNT
from tests.support.clients import Reply, wait_until
from tests.support.doors.asgi_client import Client, model
from tests.support.doors.grpc_calls import predict_body
from tests.support.doors.limited_sites import LimitedSite, limited_sites
from tests.support.doors.raw_http import RawConnection, request
from tests.support.doors.raw_http2 import PREDICT
from tests.support.infer_bodies import raw_grpc_infer

SERVICE = "/tensorflow.serving.PredictionService"
INFER = "/inference.GRPCInferenceService/ModelInfer"
V1_BODY = b'{"instances": [1.0]}'
V2_BODY = b'{"inputs": [{"name": "x", "shape": [1], "datatype": "FP32", "data": [1.0]}]}'
OIP_BODY = b"\x0a\x01m" + raw_grpc_infer({})
SALT = "m:7f3a"
HALF = Division(((7, 5_000), (8, 5_000)), 1, SALT, "x-user")
RANDOM = Division(((7, 5_000), (8, 5_000)), 1)
TO_CANARY = Division(((7, 0), (8, WHOLE)), 1, SALT, "x-user")
LIBRARY = (("grpc.so_reuseport", 0),)


@pytest.fixture(scope="module")
def sites() -> Iterator[dict[str, LimitedSite]]:
    """A router on whose short ways requests go, one where they cannot, and one whose gRPC port is the library's."""
    with limited_sites() as make:
        yield {"short": make("short"), "long": make("long"), "library": make("short", None, LIBRARY)}


@pytest.fixture(params=["short", "long", "library"])
def site(request, sites) -> LimitedSite:
    """Each of them."""
    found: LimitedSite = sites[request.param]
    found.forget()
    return found


def rest(site: LimitedSite, target: str = "/v1/models/m:predict", body: bytes = V1_BODY, *headers: str) -> Reply:
    """Send a POST."""
    with RawConnection(site.port) as client:
        return client.ask(request("POST", target, body, *headers))


def version_of_last(site: LimitedSite) -> int:
    """Return the version that got the last call."""
    return site.transport.calls[-1][0].servable.version


def bucket(user: str) -> int:
    """Return the bucket of a user."""
    return key_hash(SALT.encode(), user.encode("latin-1")) % WHOLE


USERS = ["ann", "Ann", "bob", "a%20b", "a b", "user-7", "user-8", "x" * 300, "1", "caf\xe9"]
DOORS: dict[str, Callable[[LimitedSite, str], object]] = {
    "v1": lambda site, user: rest(site, "/v1/models/m:predict", V1_BODY, f"X-User: {user}"),
    "v2": lambda site, user: rest(site, "/v2/models/m/infer", V2_BODY, f"x-USER: {user}"),
    "Predict": lambda site, user: site.call(PREDICT, predict_body(), [("x-user", user)]),
    "ModelInfer": lambda site, user: site.call(INFER, OIP_BODY, [("x-user", user)]),
}


@pytest.mark.parametrize("user", USERS)
def test_a_key_is_the_same_bytes_at_every_door(site, user) -> None:
    """Whatever their case and escapes; whichever way a request takes. Only HTTP carries other than ASCII."""
    site.divide(HALF, 7, 8)
    wanted = 8 if bucket(user) < 5_000 else 7

    got = {}
    for name, ask in DOORS.items():
        if user.isascii() or name in {"v1", "v2"}:
            with_latin = ask if user.isascii() else _raw(name)
            with_latin(site, user)
            got[name] = version_of_last(site)

    assert got == dict.fromkeys(got, wanted)


def _raw(name: str) -> Callable[[LimitedSite, str], object]:
    """Return what sends a header in Latin-1."""
    target, body = ("/v1/models/m:predict", V1_BODY) if name == "v1" else ("/v2/models/m/infer", V2_BODY)

    def send(site: LimitedSite, user: str) -> None:
        content = request("POST", target, body, "x-user: ?").replace(b"?", user.encode("latin-1"))
        with RawConnection(site.port) as client:
            client.ask(content)

    return send


def test_users_are_on_both_sides() -> None:
    """Otherwise the test above would show nothing."""
    assert {bucket(user) < 5_000 for user in USERS} == {True, False}


@pytest.mark.parametrize("door", DOORS)
def test_requests_of_one_connection_are_divided(sites, door) -> None:
    """A channel or a kept connection is no key: caching proxies have few of them."""
    site = sites["short"]
    site.forget()
    site.divide(RANDOM, 7, 8)
    if door in {"v1", "v2"}:
        target, body = ("/v1/models/m:predict", V1_BODY) if door == "v1" else ("/v2/models/m/infer", V2_BODY)
        with RawConnection(site.port) as client:
            versions = [int(client.ask(request("POST", target, body)).headers["x-model-version"]) for _ in range(60)]
    else:
        method, body = (PREDICT, predict_body()) if door == "Predict" else (INFER, OIP_BODY)
        with grpc.insecure_channel(f"127.0.0.1:{site.grpc_port}") as channel:
            for _ in range(60):
                channel.unary_unary(method)(body, timeout=60)
        versions = [route.servable.version for route, _ in site.transport.calls]

    assert {7, 8} == set(versions)
    assert min(Counter(versions).values()) >= 8


@pytest.mark.parametrize(
    ("target", "version"),
    [
        ("/v1/models/m:predict", 8),
        ("/v1/models/m:classify", 8),
        ("/v1/models/m/versions/7:predict", 7),
        ("/v1/models/m/labels/exact:predict", 7),
        ("/v2/models/m/versions/7/infer", 7),
        ("/v2/models/m/infer", 8),
    ],
)
def test_the_answer_says_which_version_gave_it(site, target, version) -> None:
    """Its body does not, in TensorFlow Serving's API; number and label are exact."""
    site.divide(TO_CANARY, 7, 8)

    reply = rest(site, target, V1_BODY if target.startswith("/v1") else V2_BODY, "X-User: ann")

    assert (reply.status, reply.headers["x-model-version"]) == (200, str(version))
    assert version_of_last(site) == version


@pytest.mark.parametrize("target", ["/v1/models/m/metadata", "/v2/models/m"])
def test_metadata_is_that_of_the_stable_version(site, target) -> None:
    """Clients read a signature once, and keep it."""
    site.divide(TO_CANARY, 7, 8)
    with RawConnection(site.port) as client:
        reply = client.ask(request("GET", target, b"", "X-User: ann"), "GET")

    assert (reply.status, reply.headers["x-model-version"]) == (200, "7")


def test_metadata_over_grpc_is_that_of_the_stable_version(site) -> None:
    """In both protocols."""
    site.divide(TO_CANARY, 7, 8)
    asked = serving_pb2.GetModelMetadataRequest(model_spec={"name": "m"}, metadata_field=["signature_def"])
    site.call(f"{SERVICE}/GetModelMetadata", asked.SerializeToString(), [("x-user", "ann")])
    first = version_of_last(site)
    oip = oip_pb2.ModelMetadataRequest(name="m").SerializeToString()
    site.call("/inference.GRPCInferenceService/ModelMetadata", oip, [("x-user", "ann")])

    assert (first, version_of_last(site), len(site.transport.calls)) == (7, 7, 2)


def test_one_call_of_several_tasks_gets_one_version(site) -> None:
    """Its tasks would disagree otherwise."""
    site.divide(TO_CANARY, 7, 8)
    tasks = [{"model_spec": {"name": "m", "signature_name": name}} for name in ("a", "b")]
    body = serving_pb2.MultiInferenceRequest(tasks=tasks).SerializeToString()

    site.call(f"{SERVICE}/MultiInference", body)

    assert [route.servable.version for route, _ in site.transport.calls] == [8]


ERROR = Answer(Code.INVALID_ARGUMENT, b"no such input")


@pytest.mark.parametrize(
    ("target", "body"), [("/v1/models/m:predict", V1_BODY), ("/v2/models/m/infer", V2_BODY)], ids=["v1", "v2"]
)
def test_an_error_of_the_model_says_which_version_gave_it(site, target, body) -> None:
    """An operator wants to know which one is broken."""
    site.forget(ERROR)
    site.divide(TO_CANARY, 7, 8)

    reply = rest(site, target, body)

    assert (reply.status, reply.headers["x-model-version"]) == (400, "8")
    assert "no such input" in reply.error


@pytest.mark.parametrize(
    ("target", "body"), [("/v1/models/m:predict", V1_BODY), ("/v2/models/m/infer", V2_BODY)], ids=["v1", "v2"]
)
def test_an_error_that_no_version_gave_names_none(site, target, body) -> None:
    """Nor does the page of a model, or an unknown one."""
    site.forget(DeadlineExceeded("late"))
    site.divide(TO_CANARY, 7, 8)

    late, unknown = rest(site, target, body), rest(site, target.replace("models/m", "models/none"), body)

    assert (late.status, unknown.status) == (504, 404)
    assert "x-model-version" not in {*late.headers, *unknown.headers}


def test_the_version_is_named_without_a_division_too(site) -> None:
    """Clients should not depend on whether a rollout runs."""
    site.divide(None, 3, 4)

    assert rest(site).headers["x-model-version"] == "4"
    assert rest(site, "/v2/models/m/infer", V2_BODY).headers["x-model-version"] == "4"


@pytest.mark.parametrize("door", DOORS)
def test_a_request_counts_once_for_its_version(site, door) -> None:
    """On the short way, on the long one, and on that from one to the other."""
    site.divide(None, 7, 8)
    site.divide(TO_CANARY, 7, 8)
    for user in ("ann", "ann", "bob"):
        DOORS[door](site, user)

    counts = site.router.report().arms[ArmKey("m", 1, 8)]
    assert (counts.shown.requests, counts.judged.requests) == (3, 2)
    assert site.router.report().arms[ArmKey("m", 1, 7)].shown == Tally(latency=(0,) * 77)


@pytest.mark.parametrize(
    "headers", [[("grpc-previous-rpc-attempts", "1")], [("x-envoy-attempt-count", "3")]], ids=["grpc", "envoy"]
)
def test_a_repeated_call_is_not_judged(site, headers) -> None:
    """At either door."""
    site.divide(None, 7, 8)
    site.divide(TO_CANARY, 7, 8)
    if headers[0][0].startswith("x-"):
        site.call(PREDICT, predict_body(), headers)
    rest(site, "/v1/models/m:predict", V1_BODY, *(f"{name}: {value}" for name, value in headers))

    counts = site.router.report().arms[ArmKey("m", 1, 8)]
    assert (counts.judged.requests, counts.shown.requests > 0) == (0, True)


def test_tensorflow_s_count_of_requests_is_the_sum_over_versions(site) -> None:
    """It has no label for versions."""
    site.divide(RANDOM, 7, 8)
    for _ in range(10):
        rest(site)

    wait_until(lambda: site.counts == {("m", "OK"): 10}, "all are counted")
    assert site.metrics.snapshot().counters.keys() >= {REQUEST_COUNT.name}


async def test_calls_of_serve_s_own_grpc_proxy_are_divided(sites) -> None:
    """By the same key; a call without metadata by chance."""
    site = sites["long"]
    site.forget()
    site.divide(HALF, 7, 8)
    _, api = site.apis
    got = {}
    for user in ("ann", "bob", "user-7"):
        work = api.answer_traced("Predict", predict_body(), (("x-user", user),))
        await asyncio.wrap_future(site.loop.run(work))
        got[user] = version_of_last(site)

    assert got == {user: 8 if bucket(user) < 5_000 else 7 for user in got}


async def test_requests_of_serve_s_own_http_proxy_are_divided() -> None:
    """Its application is the same."""
    divided = replace(model("m", 7, 8), division=HALF)
    client = Client(table=RoutingTable(1, {"m": divided}, settled=True))

    got = {}
    for user in ("ann", "bob", "user-7"):
        headers = [(b"x-user", user.encode())]
        reply = await client.send("POST", "/v1/models/m:predict", V1_BODY, headers, by_front_door=False)
        got[user] = int(reply.headers[b"x-model-version"])

    assert got == {user: 8 if bucket(user) < 5_000 else 7 for user in got}


def test_the_model_of_the_tests_is_named_as_they_think() -> None:
    """Bodies are written by hand."""
    assert peek(predict_body()).name == "m"
