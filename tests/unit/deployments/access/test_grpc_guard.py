"""The gRPC port behind an access file: every method of every service, and what an attacker tries."""

from __future__ import annotations

import gzip
import socket
from collections.abc import Iterator

import grpc
import psutil
import pytest
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from core.admin import messages as admin_messages
from core.grpc.rights import RULES as RIGHTS
from core.http2.frames import DATA, END_HEADERS, END_STREAM, HEADERS, frame
from core.profiling.profile_request import ProfileRequest
from core.protos import oip_pb2, serving_pb2
from core.telemetry.metric_names import ACCESS_REFUSALS
from deployments.grpc.api import SERVICES
from deployments.grpc.reflection import NEW_SERVICE
from deployments.oip.grpc_rights import OIP_RULES
from deployments.oip.grpc_rights import SERVICE as OIP
from deployments.oip.serve_proxy import OIP_METHODS
from deployments.telemetry.process_metrics import METRICS
from tests.support.doors.guarded_sites import (
    PREDICT,
    SECRET_ERROR,
    GuardedSite,
    GuardedSites,
    bearer,
    client_of,
    eventually,
    guarded_sites,
)
from tests.support.doors.raw_http2 import RawHttp2, head_block, message

RULES = (
    "clients:\n"
    + client_of("ranker", "infer", "metadata", models=("m",))
    + client_of("viewer", "status", models=("m", "broken"))
    + client_of("ops", "admin")
    + client_of("part", "admin", models=("m",))
)
HEALTH = "/grpc.health.v1.Health"
REFLECT = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
STATUS = "/tensorflow.serving.ModelService/GetModelStatus"
METADATA = "/tensorflow.serving.PredictionService/GetModelMetadata"
MULTI = "/tensorflow.serving.PredictionService/MultiInference"
RELOAD = "/tensorflow.serving.ModelService/HandleReloadConfigRequest"
GET_CONFIG = "/ray_model_server.Admin/GetConfig"
CHANGE_CONFIG = "/ray_model_server.Admin/ChangeConfig"
GET_STATUS = "/ray_model_server.Admin/GetStatus"
PROFILE = "/ray_model_server.Admin/Profile"
RANKER, VIEWER, OPS, PART = (bearer(f"{name}-token") for name in ("ranker", "viewer", "ops", "part"))


@pytest.fixture(scope="module", params=["own server", "library"])
def one_site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GuardedSite]:
    with guarded_sites(tmp_path_factory.mktemp("rules")) as made:
        yield made.ruled(RULES, by_library=request.param == "library")


@pytest.fixture
def site(one_site: GuardedSite) -> GuardedSite:
    one_site.transport.calls.clear()
    one_site.handed_over.clear()
    return one_site


def spec(name: str) -> bytes:
    return serving_pb2.PredictRequest(model_spec={"name": name}).SerializeToString()


def tasks(*names: str) -> bytes:
    made = serving_pb2.SerializedMultiInferenceRequest()
    for name in names:
        made.tasks.add().model_spec.name = name
    return made.SerializeToString()


def raw(of: Message) -> bytes:
    return of.SerializeToString()


def every_path() -> list[str]:
    own = [f"/{service}/{method}" for service, methods in SERVICES.items() for method in methods]
    return [*(one for one in own if not one.endswith("/Token")), *(f"/{OIP}/{one}" for one in OIP_METHODS)]


OPEN_TO_ANYONE = {f"/{OIP}/ServerLive", f"/{OIP}/ServerReady", f"/{OIP}/ModelReady"}


@pytest.mark.parametrize("path", [*every_path(), f"/{OIP}/ModelConfig", f"/{OIP}/TraceSetting", f"{HEALTH}/List"])
def test_every_method_but_health_wants_a_token(site: GuardedSite, path: str) -> None:
    """Whatever its message is: ours are not even read."""
    for content in (b"",) if path.startswith(HEALTH) else (b"", spec("m"), b"\xff\xff"):
        code = site.code(path, content)
        assert path in OPEN_TO_ANYONE or code == "UNAUTHENTICATED"
        assert path in OPEN_TO_ANYONE or site.code(path, content, bearer("guess")) == "UNAUTHENTICATED"
    assert site.transport.calls == []
    assert site.handed_over == []


def test_every_method_that_is_served_names_its_right() -> None:
    """Without a file, a method that has no rule is open to everyone: a new one that changes something must name it."""
    standard = (health_pb2.DESCRIPTOR, reflection_pb2.DESCRIPTOR)
    theirs = [
        f"/{service.full_name}/{method.name}"
        for file in standard
        for service in file.services_by_name.values()
        for method in service.methods
    ]

    assert [one for one in (*every_path(), *theirs) if one not in {**RIGHTS, **OIP_RULES}] == []


def test_sibling_routers_find_each_other_without_a_token(site: GuardedSite) -> None:
    """They have none when a port is claimed."""
    assert site.call("/ray_model_server.Door/Token") == b"t"


@pytest.mark.parametrize(
    ("path", "content", "who", "wanted"),
    [
        (PREDICT, spec("m"), RANKER, "OK"),
        (PREDICT, spec("m"), ("x-api-key", "ranker-token"), "OK"),
        (PREDICT, spec("unseen"), RANKER, "PERMISSION_DENIED"),
        (PREDICT, spec("absent"), RANKER, "PERMISSION_DENIED"),
        (PREDICT, spec("m"), OPS, "PERMISSION_DENIED"),
        (PREDICT, b"", RANKER, "INVALID_ARGUMENT"),
        ("/tensorflow.serving.PredictionService/Classify", spec("unseen"), RANKER, "PERMISSION_DENIED"),
        ("/tensorflow.serving.PredictionService/Regress", spec("unseen"), RANKER, "PERMISSION_DENIED"),
        ("/tensorflow.serving.SessionService/SessionRun", spec("m"), RANKER, "OK"),
        ("/tensorflow.serving.SessionService/SessionRun", spec("unseen"), RANKER, "PERMISSION_DENIED"),
        (MULTI, tasks("m", "m"), RANKER, "OK"),
        (MULTI, tasks("m", "unseen"), RANKER, "PERMISSION_DENIED"),
        (MULTI, tasks("unseen", "m"), RANKER, "PERMISSION_DENIED"),
        (MULTI, tasks("m", ""), RANKER, "PERMISSION_DENIED"),
        (METADATA, spec("unseen"), RANKER, "PERMISSION_DENIED"),
        (STATUS, spec("m"), RANKER, "OK"),
        (STATUS, spec("unseen"), RANKER, "PERMISSION_DENIED"),
        (STATUS, spec("unseen"), VIEWER, "PERMISSION_DENIED"),
        (RELOAD, b"", RANKER, "PERMISSION_DENIED"),
        (RELOAD, b"", VIEWER, "PERMISSION_DENIED"),
        (RELOAD, b"", PART, "PERMISSION_DENIED"),
        (RELOAD, b"", OPS, "OK"),
        (GET_CONFIG, b"", PART, "PERMISSION_DENIED"),
        (CHANGE_CONFIG, b"", PART, "PERMISSION_DENIED"),
        (CHANGE_CONFIG, b"", OPS, "OK"),
        (GET_STATUS, b"", RANKER, "PERMISSION_DENIED"),
        (GET_STATUS, b"", VIEWER, "OK"),
        (GET_STATUS, b"", OPS, "OK"),
        (PROFILE, admin_messages.profile_request(ProfileRequest("m", 1.0)), PART, "OK"),
        (PROFILE, admin_messages.profile_request(ProfileRequest("unseen", 1.0)), PART, "PERMISSION_DENIED"),
        ("/tensorflow.ProfilerService/Profile", b"", RANKER, "UNIMPLEMENTED"),
        (f"/{OIP}/ModelInfer", raw(oip_pb2.ModelInferRequest(model_name="m")), RANKER, "OK"),
        (f"/{OIP}/ModelInfer", raw(oip_pb2.ModelInferRequest(model_name="unseen")), RANKER, "PERMISSION_DENIED"),
        (f"/{OIP}/ModelMetadata", raw(oip_pb2.ModelMetadataRequest(name="unseen")), RANKER, "PERMISSION_DENIED"),
        (f"/{OIP}/ModelStatistics", b"", VIEWER, "PERMISSION_DENIED"),
        (f"/{OIP}/ModelStatistics", raw(oip_pb2.ModelStatisticsRequest(name="m")), VIEWER, "OK"),
        (f"/{OIP}/RepositoryModelLoad", raw(oip_pb2.RepositoryModelLoadRequest(model_name="unseen")), PART, "PERMISSION_DENIED"),
        (f"/{OIP}/RepositoryModelUnload", raw(oip_pb2.RepositoryModelUnloadRequest(repository_name="unseen")), PART, "PERMISSION_DENIED"),
        (f"{HEALTH}/List", b"", OPS, "OK"),
        (f"{HEALTH}/Check", raw(health_pb2.HealthCheckRequest(service="model/unseen")), RANKER, "OK"),
    ],
)  # fmt: skip
def test_a_call_is_judged_by_its_method_and_by_every_model_that_it_names(
    site: GuardedSite, path: str, content: bytes, who: tuple[str, str], wanted: str
) -> None:
    """Also where a request names several."""
    assert site.code(path, content, who) == wanted


@pytest.mark.parametrize(
    "metadata",
    [
        [RANKER, RANKER],
        [bearer("wrong"), RANKER],
        [RANKER, ("x-api-key", "ranker-token")],
        [("authorization", "Bearer")],
        [("authorization", "Basic cmFua2VyLXRva2Vu")],
        [("authorization", "ranker-token")],
        [("authorization-bin", b"Bearer ranker-token")],
        [("x-api-key-bin", b"ranker-token")],
        [("authorization", "Bearer " + "a" * 5000)],
        [("cookie", "authorization=Bearer ranker-token")],
    ],
)
def test_what_is_not_exactly_one_good_token_calls_nothing(site: GuardedSite, metadata: list[tuple]) -> None:
    """As over REST."""
    assert site.code(PREDICT, spec("m"), *metadata) == "UNAUTHENTICATED"
    assert site.transport.calls == []


@pytest.mark.parametrize(
    "path",
    [
        PREDICT.lower(),
        PREDICT.upper(),
        PREDICT + "/",
        "/" + PREDICT,
        PREDICT + "?x",
        PREDICT.replace("/Pred", "/%50red"),
    ],
)
def test_another_way_of_writing_a_path_is_another_method(site: GuardedSite, path: str) -> None:
    """There is none of that name."""
    assert site.code(path, spec("m")) in {"UNIMPLEMENTED", "UNAUTHENTICATED", "UNKNOWN", "INTERNAL"}
    assert site.transport.calls == []


@pytest.mark.parametrize("kind", [grpc.Compression.Gzip, grpc.Compression.Deflate])
def test_a_compressed_call_is_judged_by_what_it_says(site: GuardedSite, kind: grpc.Compression) -> None:
    """The name of the model is inside."""
    padding = b"\x1a\x80\x20" + b"x" * 4096  # an unknown field, so that it is worth compressing
    assert site.code(PREDICT, spec("m") + padding, RANKER, compression=kind) in {"OK", "INVALID_ARGUMENT"}
    assert site.code(PREDICT, spec("unseen") + padding, RANKER, compression=kind) in {
        "PERMISSION_DENIED",
        "INVALID_ARGUMENT",
    }
    assert [route.servable.name for route, _ in site.transport.calls] in ([], ["m"])


def test_a_second_model_spec_in_a_message_is_the_one_that_counts(site: GuardedSite) -> None:
    """Protobuf merges them, for the guard as for the model."""
    assert site.code(PREDICT, spec("m") + spec("unseen"), RANKER) == "PERMISSION_DENIED"
    assert site.code(PREDICT, spec("unseen") + spec("m"), RANKER) == "OK"


def test_streams_are_guarded_as_calls(site: GuardedSite) -> None:
    """Reflection and the watching of health."""
    with grpc.insecure_channel(f"127.0.0.1:{site.grpc_port}") as channel:
        reflect = channel.stream_stream(
            REFLECT,
            reflection_pb2.ServerReflectionRequest.SerializeToString,
            reflection_pb2.ServerReflectionResponse.FromString,
        )
        wanted = [reflection_pb2.ServerReflectionRequest(list_services="")]
        with pytest.raises(grpc.RpcError) as caught:
            list(reflect(iter(wanted), timeout=20))
        assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
        assert len(list(reflect(iter(wanted), metadata=(RANKER,), timeout=20))) == 1
        again = channel.stream_stream(f"/{NEW_SERVICE}/ServerReflectionInfo")
        with pytest.raises(grpc.RpcError):
            list(again(iter([b""]), timeout=20))

        watch = channel.unary_stream(
            f"{HEALTH}/Watch",
            health_pb2.HealthCheckRequest.SerializeToString,
            health_pb2.HealthCheckResponse.FromString,
        )
        watched = watch(health_pb2.HealthCheckRequest(service=""), timeout=20)
        assert next(watched).status == health_pb2.HealthCheckResponse.SERVING
        watched.cancel()


def test_texts_of_errors_are_for_those_with_the_right_to_status(site: GuardedSite) -> None:
    """As TensorFlow Serving has them, for those alone."""
    assert SECRET_ERROR.encode() in site.call(STATUS, spec("broken"), VIEWER)
    shown = admin_messages.read_status_answer(site.call(GET_STATUS, b"", VIEWER))
    assert "secret-address" not in shown
    assert "unseen" not in shown
    assert "secret-address" in admin_messages.read_status_answer(site.call(GET_STATUS, b"", OPS))


def test_a_state_without_the_right_to_status_has_no_text(sites: GuardedSites) -> None:
    """States are enough to wait for a model."""
    site = sites.ruled("clients:\n" + client_of("meta", "metadata"))

    answer = serving_pb2.GetModelStatusResponse.FromString(site.call(STATUS, spec("broken"), bearer("meta-token")))
    assert answer.model_version_status[0].status.error_message == ""
    assert b"secret" not in site.call(f"/{OIP}/RepositoryIndex", b"", bearer("meta-token"))


def test_calls_of_clients_take_the_short_way(sites: GuardedSites, monkeypatch: pytest.MonkeyPatch) -> None:
    """A guarded port is not a slow one."""
    site = sites.ruled(RULES)

    async def counted(*given: object) -> None:
        raise AssertionError

    monkeypatch.setattr(site.router, "counted", counted)

    assert site.code(PREDICT, spec("m"), RANKER) == "OK"
    assert site.code(f"/{OIP}/ModelInfer", raw(oip_pb2.ModelInferRequest(model_name="m")), RANKER) == "OK"


def test_calls_of_one_connection_are_judged_one_by_one(sites: GuardedSites) -> None:
    """A block of headers that was seen before means what it meant."""
    site = sites.ruled(RULES)
    good, bad = (b"authorization", b"Bearer ranker-token"), (b"authorization", b"Bearer wrong-token!!")
    with RawHttp2(site.grpc_port) as client:
        codes = [
            client.ask(1 + 2 * at, spec("m"), PREDICT, one).status for at, one in enumerate([good, bad, good, bad])
        ]

    assert codes == [0, 16, 0, 16]


def test_a_body_in_gzip_whose_head_does_not_say_so_is_refused_as_ever(sites: GuardedSites) -> None:
    """A guard changes nothing about broken messages."""
    site = sites.ruled(RULES)
    with RawHttp2(site.grpc_port) as client:
        packed = b"\x01" + message(gzip.compress(spec("m")))[1:]
        head = head_block(PREDICT, (b"authorization", b"Bearer ranker-token"))
        client.send(frame(HEADERS, END_HEADERS, 1, head) + frame(DATA, END_STREAM, 1, packed))
        assert client.answer(1).status == 13


@pytest.mark.parametrize(
    ("path", "token", "wanted"),
    [
        (PREDICT, b"", 16),
        (PREDICT, b"Bearer guess", 16),
        (PREDICT, b"Bearer ops-token", 7),
        (RELOAD, b"", 16),
        (f"/{OIP}/ModelInfer", b"", 16),
        (REFLECT, b"", 16),
    ],
)
def test_a_call_that_its_path_forbids_is_refused_before_its_message_comes(
    sites: GuardedSites, path: str, token: bytes, wanted: int
) -> None:
    """Who may not call sends no gigabytes into memory."""
    site = sites.ruled(RULES)
    before = METRICS.counter(ACCESS_REFUSALS, "", "unauthenticated").value
    with RawHttp2(site.grpc_port) as client:
        head = head_block(path, *([(b"authorization", token)] if token else []))
        client.send(frame(HEADERS, END_HEADERS, 1, head))
        assert client.answer(1).status == wanted
        assert METRICS.counter(ACCESS_REFUSALS, "", "unauthenticated").value == before + (wanted == 16)
        client.send(frame(DATA, END_STREAM, 1, message(spec("m"))))
        assert client.ask(3, spec("m"), PREDICT, (b"authorization", b"Bearer ranker-token")).status == 0


def test_a_probe_counts_against_no_limit(sites: GuardedSites) -> None:
    """A watcher of health would take the place of a call for as long as it watches."""
    more = "    max_in_flight: 1\n    max_requests_per_second: 1\n"
    site = sites.ruled("clients:\n" + client_of("a", "infer", "health", more=more))
    with grpc.insecure_channel(f"127.0.0.1:{site.grpc_port}") as channel:
        watched = channel.unary_stream(f"{HEALTH}/Watch")(b"", metadata=(bearer("a-token"),), timeout=20)
        next(watched)
        for _ in range(5):
            for path in (f"{HEALTH}/Check", f"/{OIP}/ServerReady"):
                assert site.code(path, b"", bearer("a-token")) == "OK"
        assert site.code(PREDICT, spec("m"), bearer("a-token")) == "OK"
        watched.cancel()


def test_a_new_file_counts_for_open_channels(sites: GuardedSites) -> None:
    """Without a new connection."""
    site = sites.ruled(RULES)
    with grpc.insecure_channel(f"127.0.0.1:{site.grpc_port}") as channel:
        predict = channel.unary_unary(PREDICT)

        def code() -> str:
            try:
                predict(spec("m"), metadata=(RANKER,), timeout=20)
            except grpc.RpcError as error:
                return str(error.code().name)
            return "OK"

        assert code() == "OK"
        sites.file.write_text("clients:\n" + client_of("new", "infer"))
        assert eventually(lambda: code() == "UNAUTHENTICATED")


@pytest.mark.parametrize("by_library", [False, True])
def test_a_client_beyond_its_rate_is_told_when_to_come_again(sites: GuardedSites, *, by_library: bool) -> None:
    """As over REST, of which it has used up the same; gRPC's clients repeat a call by themselves at the given time."""
    more = "    max_requests_per_second: 2\n"
    site = sites.ruled("clients:\n" + client_of("a", "infer", more=more), by_library=by_library)
    site.ask("POST", "/v1/models/m:predict", "X-Api-Key: a-token", body=b"{}")

    assert site.code(PREDICT, spec("m"), bearer("a-token")) == "OK"
    assert eventually(lambda: site.code(PREDICT, spec("m"), bearer("a-token")) == "RESOURCE_EXHAUSTED")
    with pytest.raises(grpc.RpcError) as caught:
        site.call(PREDICT, spec("m"), bearer("a-token"))
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert 1 <= int(dict(caught.value.trailing_metadata())["grpc-retry-pushback-ms"]) <= 1000


def test_what_serves_own_proxy_carries_is_guarded_too(site: GuardedSite) -> None:
    """Its peer is the proxy, which proves nothing."""

    def code(method: str, content: bytes, *metadata: tuple[str, str]) -> str:
        answer = site.loop.run(site.grpc_api.answer_traced(method, content, metadata)).result(20)
        return str(answer.code.name)

    assert code("Predict", spec("m")) == "UNAUTHENTICATED"
    assert code("Predict", spec("m"), RANKER) == "OK"
    assert code("Predict", spec("unseen"), RANKER) == "PERMISSION_DENIED"
    assert code("HandleReloadConfigRequest", b"", RANKER) == "PERMISSION_DENIED"
    assert code("RepositoryModelLoad", raw(oip_pb2.RepositoryModelLoadRequest(model_name="m"))) == "UNAUTHENTICATED"
    assert code("Nothing", b"", OPS) == "UNIMPLEMENTED"


OWN_CHANGES = [GET_CONFIG, CHANGE_CONFIG, PROFILE, f"/{OIP}/RepositoryModelLoad", f"/{OIP}/RepositoryModelUnload"]


@pytest.mark.parametrize("by_library", [False, True])
def test_without_a_file_our_own_changes_are_for_this_machine_only(sites: GuardedSites, *, by_library: bool) -> None:
    """TensorFlow Serving's own methods are answered to everyone, as there."""
    site = sites.unruled(by_library=by_library)
    proxied = ("x-forwarded-prefix", "/a")
    profile = admin_messages.profile_request(ProfileRequest("m", 1.0))

    for path in OWN_CHANGES:
        content = profile if path == PROFILE else raw(oip_pb2.RepositoryModelLoadRequest(model_name="m"))
        assert site.code(path, content, proxied) == "PERMISSION_DENIED"
        if not path.startswith(f"/{OIP}"):
            assert site.code(path, content) == "OK"
    assert [site.code(path, spec("m"), proxied) for path in (PREDICT, STATUS, RELOAD, GET_STATUS)] == ["OK"] * 4
    with pytest.raises(grpc.RpcError, match="start the server with --enable_remote_admin"):
        site.call(GET_CONFIG, b"", proxied)
    assert sites.unruled(remote_admin=True, by_library=by_library).code(GET_CONFIG, b"", proxied) == "OK"


def outward_address() -> str:
    """Return an address of this machine that is not loopback; skips the test where there is none."""
    for addresses in psutil.net_if_addrs().values():
        for one in addresses:
            if one.family == socket.AF_INET and not one.address.startswith("127."):
                return str(one.address)
    pytest.skip("this machine has loopback only")


@pytest.mark.parametrize("by_library", [False, True])
def test_a_call_that_does_not_come_over_loopback_is_from_elsewhere(sites: GuardedSites, *, by_library: bool) -> None:
    """On real connections of both servers, over IPv4 into a socket of IPv6 too."""
    site = sites.unruled(host="", by_library=by_library)
    far = f"{outward_address()}:{site.grpc_port}"

    assert site.code(GET_CONFIG, address=far) == "PERMISSION_DENIED"
    assert site.code(GET_STATUS, address=far) == "OK"
    assert site.code(GET_CONFIG, address=f"127.0.0.1:{site.grpc_port}") == "OK"
    assert site.handed_over == ["get_config"]


def test_without_a_file_a_change_through_serves_own_proxy_is_refused(sites: GuardedSites) -> None:
    """Nothing is known of who called the proxy."""
    site = sites.unruled()
    request = raw(oip_pb2.RepositoryModelLoadRequest(model_name="m"))

    answer = site.loop.run(site.grpc_api.answer_traced("RepositoryModelLoad", request, ())).result(20)

    assert answer.code.name == "PERMISSION_DENIED"
    assert site.handed_over == []


@pytest.mark.parametrize("by_library", [False, True])
def test_a_unix_socket_is_this_machine(sites: GuardedSites, tmp_path, *, by_library: bool) -> None:
    """Its folder says who may open it."""
    path = tmp_path / "s"
    site = sites.unruled(grpc_socket_path=path, by_library=by_library)

    assert site.code(GET_CONFIG, address=f"unix:{path}") == "OK"
