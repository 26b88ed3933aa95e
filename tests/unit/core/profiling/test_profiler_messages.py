"""Messages of TensorFlow's profiler service, as a router reads and writes them."""

from __future__ import annotations

import pytest

from core.errors import FailedPrecondition, InvalidArgument
from core.profiling.profiler_messages import (
    MOST_RECORDED,
    RecordedVersion,
    RecordingRequest,
    read_recording_request,
    read_watch_request,
    recorded_routes,
    recording_answer,
)
from core.protos import profiler_pb2, xplane_pb2
from core.routing.table import ModelRoutes, Route, RoutingTable
from core.versions.servable import ServableId


def route(name: str, version: int = 1) -> Route:
    return Route.of(ServableId(name, version))


def table(**models: tuple[int, ...]) -> RoutingTable:
    routes = {name: ModelRoutes({one: route(name, one) for one in versions}) for name, versions in models.items()}
    return RoutingTable(1, routes, settled=True)


def request(**fields: object) -> RecordingRequest:
    return read_recording_request(profiler_pb2.ProfileRequest(**fields).SerializeToString())


def test_the_duration_of_the_options_counts_before_that_of_the_request() -> None:
    """TensorFlow's service looks at the options alone; old clients send no options."""
    assert request(duration_ms=500).seconds == 0.5
    assert request(duration_ms=500, opts=profiler_pb2.ProfileOptions(duration_ms=2000)).seconds == 2.0


def test_a_very_short_recording_becomes_longer() -> None:
    """Threads are sampled some times a second only."""
    assert request(duration_ms=1).seconds == 0.1


@pytest.mark.parametrize("millis", [0, 60_001, 2**64 - 1])
def test_a_duration_has_limits(millis: int) -> None:
    """None, and hours, are mistakes."""
    with pytest.raises(InvalidArgument, match=f"^duration_ms is {millis}; it must be from 1 to 60000.$"):
        request(duration_ms=millis)
    with pytest.raises(InvalidArgument, match="duration_ms"):
        read_watch_request(profiler_pb2.MonitorRequest(duration_ms=millis).SerializeToString())


def test_what_is_not_a_message_is_refused() -> None:
    """By the name of the message that was expected."""
    with pytest.raises(InvalidArgument, match=r"^The request is not a valid ProfileRequest message\.$"):
        read_recording_request(b"\xff")


def test_a_recording_may_begin_later() -> None:
    """TensorFlow's client lets several servers begin at once; nobody waits for hours."""
    later = request(duration_ms=1000, opts=profiler_pb2.ProfileOptions(start_timestamp_ns=1_000_002_000_000_000))

    assert later.delay_s(1_000_000.0) == pytest.approx(2.0)
    assert later.delay_s(2_000_000.0) == 0
    assert request(duration_ms=1000).delay_s(5.0) == 0
    with pytest.raises(InvalidArgument, match=r"begins in 1000 s; it may in 60 s at most"):
        later.delay_s(999_002.0)


def test_every_version_that_answers_is_recorded() -> None:
    """The newest of a model first."""
    routes, others = recorded_routes(table(a=(1, 2), b=(7,)), {"b": 3.0})

    assert [one.app for one in routes] == ["b:7", "a:2", "a:1"]
    assert others == 0


def test_of_very_many_the_busiest_are_recorded() -> None:
    """Each recording costs time in its process and space in the answer."""
    routes, others = recorded_routes(table(**{f"m{number:02}": (1,) for number in range(20)}), {"m19": 9.0})

    assert [one.app for one in routes][:2] == ["m19:1", "m00:1"]
    assert (len(routes), others) == (MOST_RECORDED, 20 - MOST_RECORDED)


def test_without_a_model_there_is_nothing_to_record() -> None:
    """The error says so."""
    with pytest.raises(FailedPrecondition, match="No model answers at present"):
        recorded_routes(table(), {})


def answered(*versions: RecordedVersion, as_xspace: bool = False) -> profiler_pb2.ProfileResponse:
    return profiler_pb2.ProfileResponse.FromString(recording_answer(versions, ["a note"], as_xspace=as_xspace))


def xspace(host: str) -> bytes:
    return xplane_pb2.XSpace(hostnames=[host], planes=[xplane_pb2.XPlane(name="/host:CPU")]).SerializeToString()


def test_each_version_has_a_file_of_its_own() -> None:
    """A client puts its own name of the server before each; a name never leads out of the client's folder."""
    versions = [RecordedVersion(route(name), xspace(name)) for name in ("m", "../m", "__/m", "m.x")]

    answer = answered(*versions)

    names = [one.name for one in answer.tool_data]
    assert names == ["m.1.xplane.pb", "___m.1.xplane.pb", "2.___m.1.xplane.pb", "m_x.1.xplane.pb"]
    first = xplane_pb2.XSpace.FromString(answer.tool_data[0].data)
    assert (list(first.hostnames), list(first.warnings)) == (["m"], ["a note"])
    assert not answer.empty_trace


def test_the_file_of_a_single_version_has_tensorflows_name() -> None:
    """The client makes `HOST_PORT.xplane.pb` of it."""
    assert [one.name for one in answered(RecordedVersion(route("m"), xspace("m"))).tool_data] == ["xplane.pb"]


def test_one_xspace_holds_all_if_it_is_asked_for() -> None:
    """Clients of TensorFlow 2.21 ask for that with `emit_xspace`."""
    answer = answered(*(RecordedVersion(route(name), xspace(name)) for name in "ab"), as_xspace=True)

    assert not answer.tool_data
    assert list(answer.xspace.hostnames) == ["a", "b"]
    assert len(answer.xspace.planes) == 2
