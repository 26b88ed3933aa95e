"""TensorFlow's profiler service on a gRPC port, with models in this process and with TensorFlow's own client."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from core.admin.messages import profile_request
from core.errors import Code
from core.profiling.profile_request import ProfileRequest, RecordingOrder
from core.protos import profiler_pb2
from core.routing.table import ModelRoutes, Route, RoutingTable
from core.telemetry.metrics import Metrics
from core.versions.servable import ServableId
from deployments.grpc.api import ADMIN_SERVICE, GrpcApi
from deployments.grpc.door import GrpcAddress, GrpcDoor
from deployments.grpc.profiler import MOST_WATCHERS, ProfilerService
from deployments.inference.profiler import Profiler
from deployments.routing.request_router import RequestRouter
from deployments.system.event_loop import LoopThread
from tests.support.clients import free_port, wait_until
from tests.support.fakes import FakeTransport
from tests.support.loaded_models import call, load_fresh
from tests.support.original_messages import tensorflows

XSpace = tensorflows("tensorflow/tsl/profiler/protobuf/xplane.proto", "tensorflow.profiler.XSpace")

CLIENT = """
    import sys
    from tensorflow.python.profiler import profiler_client
    address, folder = sys.argv[1:]
    profiler_client.trace(address, folder, 500)
    print("MONITOR", profiler_client.monitor(address, 200))
"""


class Recorded:
    """Versions of this process: each has a profiler; implements what a router does over Serve's handles."""

    def __init__(self, **profilers: Profiler) -> None:
        self.profilers = profilers
        self.ended: list[str] = []
        self.elsewhere: list[str] = []
        self.failure: Exception | None = None
        self.running = 0

    async def record(self, route: Route, order: RecordingOrder) -> tuple[int, bytes]:
        name = route.servable.name
        if name not in self.profilers:
            return int(Code.UNAVAILABLE), b"gone"
        if self.failure is not None:
            raise self.failure
        self.running += 1
        try:
            return Code.OK, await asyncio.to_thread(self.profilers[name].record, order)
        finally:
            self.running -= 1

    async def end(self, route: Route, key: str) -> None:
        self.ended.append(route.app)
        self.profilers[route.servable.name].end(key)

    async def end_elsewhere(self, session: str) -> None:
        self.elsewhere.append(session)


class Port:
    """A router's gRPC port with the profiler service."""

    def __init__(self, recorded: Recorded, *names: str) -> None:
        self.recorded = recorded
        self.metrics = Metrics()
        self.port = free_port()
        self._loop = LoopThread("profiler-port")
        router = RequestRouter("r", FakeTransport(), self.metrics)
        router.apply(table(*names))
        service = ProfilerService(
            lambda: router.table, recorded.record, recorded.end, recorded.end_elsewhere, self.metrics
        )
        api = GrpcApi(router, "token", _unused, admin={"Profile": _admin_profile}, others=(service.service(),))
        self._door = GrpcDoor(GrpcAddress("127.0.0.1", self.port), api, "token")
        self._loop.run(self._door.open()).result(60)
        self._channel = grpc.insecure_channel(self.address)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def begin(self, method: str, raw: bytes, service: str = "tensorflow.ProfilerService") -> Any:
        """Begin a call."""
        return self._channel.unary_unary(f"/{service}/{method}").future(raw, timeout=60)

    def profile(self, **fields: Any) -> Any:
        """Begin to record."""
        return self.begin("Profile", profiler_pb2.ProfileRequest(**{"duration_ms": 100, **fields}).SerializeToString())

    def close(self) -> None:
        self._channel.close()
        self._loop.run(self._door.drain(0.1)).result(60)
        self._loop.stop()


def table(*names: str) -> RoutingTable:
    return RoutingTable(1, {name: ModelRoutes({1: Route.of(ServableId(name, 1))}) for name in names}, settled=True)


async def _unused(raw: bytes) -> bytes:
    raise AssertionError


async def _admin_profile(raw: bytes) -> bytes:
    return b"admin"


@pytest.fixture
def recorded(saved_models: Path) -> Recorded:
    """Two models."""
    return Recorded(**{name: Profiler(load_fresh(saved_models / "half_plus_two" / "1"), {}) for name in "ab"})


@pytest.fixture
def port(recorded: Recorded) -> Iterator[Port]:
    """A port whose router knows two models."""
    made = Port(recorded, "a", "b")
    yield made
    made.close()


@pytest.fixture
def one_model(saved_models: Path) -> Iterator[Port]:
    """A port whose only model runs all the time."""
    model = load_fresh(saved_models / "half_plus_two" / "1")
    stop = threading.Event()

    def busy_thread() -> None:
        while not stop.is_set():
            call(model, {"x": np.array([2.0], np.float32)})

    thread = threading.Thread(target=busy_thread, name="busy")
    thread.start()
    made = Port(Recorded(m=Profiler(model, {"version": "m:1"})), "m")
    yield made
    stop.set()
    thread.join()
    made.close()


def failed(call_: Any) -> tuple[grpc.StatusCode, str]:
    """Return code and text of a call that fails."""
    with pytest.raises(grpc.RpcError) as caught:
        call_.result()
    return caught.value.code(), caught.value.details()


def test_tensorflows_own_client_writes_a_profile_for_tensorboard(one_model: Port, tmp_path: Path) -> None:
    """`tf.profiler.experimental.client`: the file is where TensorBoard looks, and the server wrote nothing."""
    program = textwrap.dedent(CLIENT)
    done = subprocess.run(
        [sys.executable, "-c", program, one_model.address, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    (file,) = tmp_path.glob("plugins/profile/*/*")
    assert file.name == f"127.0.0.1_{one_model.port}.xplane.pb"
    space = XSpace.FromString(file.read_bytes())
    (host,) = (one for one in space.planes if one.name == "/host:CPU")
    names = {one.name for one in host.event_metadata.values()}
    assert "SessionRun" in names
    assert any(one.endswith(":Mul") for one in names)
    assert "busy_thread (test_profiler.py)" in names
    assert list(space.hostnames) == ["m:1"]
    assert "MONITOR" in done.stdout
    assert "No request was answered by this router." in done.stdout


def test_a_folder_that_a_client_names_is_not_written_to(one_model: Port, tmp_path: Path) -> None:
    """TensorFlow Serving writes wherever a client says; here the answer has the profile."""
    answer = profiler_pb2.ProfileResponse.FromString(
        one_model.profile(repository_root=str(tmp_path), session_id="s", host_name="h").result()
    )

    assert [one.name for one in answer.tool_data] == ["xplane.pb"]
    assert list(tmp_path.rglob("*")) == []


def test_all_models_are_recorded_at_the_same_time(port: Port) -> None:
    """With a file for each, unless one XSpace is asked for."""
    answer = profiler_pb2.ProfileResponse.FromString(port.profile().result())
    joined = profiler_pb2.ProfileResponse.FromString(port.profile(emit_xspace=True).result())

    assert [one.name for one in answer.tool_data] == ["a.1.xplane.pb", "b.1.xplane.pb"]
    assert [one.name for one in joined.xspace.planes] == ["/host:CPU", "Task Environment"] * 2


def test_a_model_that_cannot_be_recorded_is_named_in_the_profile(saved_models: Path) -> None:
    """The others are recorded."""
    made = Port(Recorded(a=Profiler(load_fresh(saved_models / "half_plus_two" / "1"), {})), "a", "gone")
    try:
        answer = profiler_pb2.ProfileResponse.FromString(made.profile().result())
    finally:
        made.close()

    (file,) = answer.tool_data
    assert list(XSpace.FromString(file.data).warnings) == ["gone:1 was not recorded: gone"]


def test_where_none_can_be_recorded_the_call_fails() -> None:
    """With the first error."""
    made = Port(Recorded(), "gone")
    try:
        assert failed(made.profile()) == (grpc.StatusCode.UNAVAILABLE, "gone")
    finally:
        made.close()


def test_one_recording_runs_at_a_time(port: Port) -> None:
    """The next one may come when it has ended."""
    first = port.profile(duration_ms=60_000, session_id="first")
    wait_until(lambda: port.recorded.running == 2, "both are being recorded")

    code, text = failed(port.profile())

    assert code is grpc.StatusCode.FAILED_PRECONDITION
    assert "Another profile is being recorded" in text
    first.cancel()
    wait_until(lambda: port.recorded.running == 0, "the first one has ended")
    assert port.profile().result()


def test_a_client_that_goes_ends_its_recording(port: Port) -> None:
    """In every version, and long before its time."""
    first = port.profile(duration_ms=60_000)
    wait_until(lambda: port.recorded.running == 2, "both are being recorded")

    first.cancel()

    wait_until(lambda: port.recorded.running == 0, "none is being recorded")
    assert sorted(port.recorded.ended) == ["a:1", "b:1"]


def test_terminate_ends_a_session_and_its_profile_is_returned(port: Port) -> None:
    """The session is named by its client; others go on, and may be those of another router."""
    first = port.profile(duration_ms=60_000, session_id="mine")
    wait_until(lambda: port.recorded.running == 2, "both are being recorded")

    assert (
        port.begin("Terminate", profiler_pb2.TerminateRequest(session_id="yours").SerializeToString()).result() == b""
    )
    assert port.recorded.elsewhere == ["yours"]
    assert port.recorded.running == 2
    assert port.begin("Terminate", profiler_pb2.TerminateRequest(session_id="mine").SerializeToString()).result() == b""

    assert len(profiler_pb2.ProfileResponse.FromString(first.result()).tool_data) == 2


def test_a_session_that_is_ended_before_it_begins_is_refused(port: Port) -> None:
    """TensorFlow's client may ask for a later beginning, so that several servers begin at once."""
    options = profiler_pb2.ProfileOptions(start_timestamp_ns=time.time_ns() + 50_000_000_000, duration_ms=100)
    later = port.profile(session_id="mine", opts=options)
    end = profiler_pb2.TerminateRequest(session_id="mine").SerializeToString()
    wait_until(lambda: bool(port.begin("Terminate", end).result() == b"" and later.done()), "it is ended")

    assert failed(later) == (grpc.StatusCode.FAILED_PRECONDITION, "The recording was ended before it began.")
    assert port.recorded.running == 0


def test_few_calls_watch_at_a_time(port: Port) -> None:
    """Each keeps what had been counted when it began."""
    raw = profiler_pb2.MonitorRequest(duration_ms=60_000).SerializeToString()
    watching = [port.begin("Monitor", raw) for _ in range(MOST_WATCHERS + 4)]
    wait_until(lambda: sum(one.done() for one in watching) == 4, "four are refused, in whatever order they came")
    short = profiler_pb2.MonitorRequest(duration_ms=100).SerializeToString()

    def is_refused() -> bool:
        return port.begin("Monitor", short).code() is grpc.StatusCode.RESOURCE_EXHAUSTED

    assert is_refused()
    for one in watching:
        one.cancel()
    wait_until(lambda: not is_refused(), "others may watch")


def test_the_admin_service_keeps_its_own_profile(port: Port) -> None:
    """Two services have a method of that name."""
    assert port.begin("Profile", profile_request(ProfileRequest("m", 1.0)), ADMIN_SERVICE).result() == b"admin"
    assert profiler_pb2.ProfileResponse.FromString(port.profile().result()).tool_data


@pytest.mark.parametrize("method", ["Profile", "Monitor", "Terminate"])
def test_bytes_that_are_not_a_message_are_refused(port: Port, method: str) -> None:
    """By name; nothing is recorded."""
    code, text = failed(port.begin(method, b"\xff\xff\xff"))

    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert "is not a valid" in text


def test_an_unexpected_failure_ends_the_call_and_not_the_service(port: Port) -> None:
    """The next recording may come."""
    port.recorded.failure = RuntimeError("boom")
    code, text = failed(port.profile())
    port.recorded.failure = None

    assert (code, text) == (grpc.StatusCode.UNKNOWN, "Unexpected RuntimeError: boom")
    assert port.profile().result()
