"""Profiles as files for TensorBoard, read with TensorFlow's own messages."""

from __future__ import annotations

from typing import Any

import pytest

from core.profiling import tensorboard_file
from core.profiling.recording import ProfiledSpan, Recording, TracedRun
from core.profiling.tensorboard_file import xspace_file
from core.protos.step_stats_pb2 import DeviceStepStats, NodeExecStats, RunMetadata, StepStats
from tests.support.original_messages import tensorflows

XSpace = tensorflows("tensorflow/tsl/profiler/protobuf/xplane.proto", "tensorflow.profiler.XSpace")

MS = 1_000_000
BASE = 1_700_000_000_000_000_000
THREAD = 140_000_000_000_000


def operation(name: str, began_ns: int, took_ns: int, label: str = "") -> NodeExecStats:
    return NodeExecStats(
        node_name=name, all_start_nanos=BASE + began_ns, all_end_rel_nanos=took_ns, timeline_label=label
    )


def run(began_ns: int, took_ns: int, *operations: NodeExecStats, device: str = "/device:CPU:0") -> TracedRun:
    stats = StepStats(dev_stats=[DeviceStepStats(device=device, node_stats=operations)])
    span = ProfiledSpan(THREAD, "run", BASE + began_ns, BASE + began_ns + took_ns)
    return TracedRun(span, RunMetadata(step_stats=stats).SerializeToString())


def space(*runs: TracedRun, spans: tuple[ProfiledSpan, ...] = ()) -> Any:
    recording = Recording(BASE, {}, {THREAD: "worker"}, spans, runs)
    return XSpace.FromString(xspace_file(recording, "m:3", BASE + 9 * MS))


def rows(plane: Any) -> dict[str, list[tuple[str, float, float]]]:
    """Return name, beginning and duration in milliseconds of the events of each row."""
    names = plane.event_metadata
    return {
        line.name: [(names[one.metadata_id].name, one.offset_ps / 1e9, one.duration_ps / 1e9) for one in line.events]
        for line in plane.lines
    }


def test_the_plane_of_the_host_has_functions_runs_and_operations() -> None:
    """Operations are named by node and type, as TensorFlow's own profiler names them."""
    spans = (
        ProfiledSpan(THREAD, "inner (a.py)", BASE + 2 * MS, BASE + 3 * MS),
        ProfiledSpan(THREAD, "outer (a.py)", BASE + 1 * MS, BASE + 5 * MS),
    )
    mul = operation("mul", 2 * MS, MS, "mul = Mul(x, a)")

    (host, environment) = space(run(2 * MS, 2 * MS, mul), spans=spans).planes

    assert host.name == "/host:CPU"
    assert rows(host) == {
        "runs in worker (1)": [("SessionRun", 2, 2)],
        "/device:CPU:0 (1)": [("mul:Mul", 2, 1)],
        "python worker (1)": [("outer (a.py)", 1, 4), ("inner (a.py)", 2, 1)],
    }
    assert {line.timestamp_ns for line in host.lines} == {0}
    assert environment.name == "Task Environment"
    stats = {environment.stat_metadata[one.metadata_id].name: one.uint64_value for one in environment.stats}
    assert stats == {"profile_start_time": BASE, "profile_stop_time": BASE + 9 * MS}


def test_operations_carry_their_label() -> None:
    """The plug-in shows it beside the event."""
    (host, _) = space(run(0, MS, operation("mul", 0, MS, "mul = Mul(x, a)"))).planes

    labels = [
        (host.stat_metadata[one.metadata_id].name, one.str_value)
        for metadata in host.event_metadata.values()
        for one in metadata.stats
    ]
    assert labels == [("long_name", "mul = Mul(x, a)")]


def test_operations_at_the_same_time_are_in_different_rows() -> None:
    """Events of a row do not overlap."""
    (host, _) = space(run(0, 4 * MS, operation("a", 0, 2 * MS), operation("b", MS, 2 * MS))).planes

    assert rows(host)["/device:CPU:0 (1)"] == [("a", 0, 2)]
    assert rows(host)["/device:CPU:0 (2)"] == [("b", 1, 2)]


def test_a_gpu_has_a_plane_of_its_own() -> None:
    """Under the name by which the plug-in knows GPUs."""
    device = "/job:localhost/replica:0/task:0/device:GPU:1/stream:all"

    planes = {one.name: one for one in space(run(0, MS, operation("mul", 0, MS), device=device)).planes}

    assert rows(planes["/device:GPU:1"]) == {f"{device} (1)": [("mul", 0, 1)]}
    assert planes["/device:GPU:1"].id


def test_what_began_before_the_recording_is_cut_at_its_beginning() -> None:
    """Times in the file are never negative."""
    (host, _) = space(run(-2 * MS, 3 * MS)).planes

    assert rows(host) == {"runs in worker (1)": [("SessionRun", 0, 1)]}


def test_a_run_that_cannot_be_read_has_no_operations() -> None:
    """The rest of the profile is there."""
    broken = TracedRun(ProfiledSpan(THREAD, "run", BASE, BASE + MS), b"\xff")

    assert list(rows(space(broken).planes[0])) == ["runs in worker (1)"]


def test_too_many_events_are_left_out_with_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs and operations come first, as they are fewer than functions."""
    monkeypatch.setattr(tensorboard_file, "MOST_EVENTS", 1)
    span = ProfiledSpan(THREAD, "f (a.py)", BASE, BASE + MS)

    found = space(run(0, MS), spans=(span,))

    assert rows(found.planes[0]) == {"runs in worker (1)": [("SessionRun", 0, 1)]}
    assert list(found.warnings) == ["m:3: 1 events were left out, because the recording became too large."]
    assert list(found.hostnames) == ["m:3"]
