"""Profiles as files for Perfetto."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from core.profiling import perfetto_file, recording
from core.profiling.perfetto_file import PYTHON, RUNS, trace_file
from core.profiling.recording import ProfiledSpan, Recording, Stack, StackSpans, TracedRun, thread_stacks
from core.protos.step_stats_pb2 import DeviceStepStats, NodeExecStats, RunMetadata, StepStats

MS = 1_000_000
BASE = 1_700_000_000_000_000_000
CPU = "/device:CPU:0"


def spans(*samples: Mapping[int, Stack]) -> list[tuple[int, str, float, float]]:
    """Sample once each millisecond; gives thread, name, beginning and end in milliseconds."""
    taken = StackSpans()
    for number, stacks in enumerate(samples):
        taken.sample(number * MS, stacks)
    found = taken.end(len(samples) * MS)
    return sorted((one.thread, one.name, one.began_ns / MS, one.ended_ns / MS) for one in found)


def metadata(*operations: NodeExecStats, device: str = CPU) -> bytes:
    """Make what TensorFlow tells of a run."""
    stats = DeviceStepStats(device=device, node_stats=operations)
    return RunMetadata(step_stats=StepStats(dev_stats=[stats])).SerializeToString()


def operation(name: str, began_us: float, took_us: float) -> NodeExecStats:
    """Make an operation that began so many microseconds after the recording."""
    return NodeExecStats(
        node_name=name,
        timeline_label=f"{name} = Mul()",
        all_start_nanos=BASE + int(began_us * 1000),
        all_end_rel_nanos=int(took_us * 1000),
    )


def run(thread: int, told: bytes) -> TracedRun:
    return TracedRun(ProfiledSpan(thread, "run", BASE, BASE + MS), told)


def read(recording: Recording) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Write the file and read it; gives what it says about itself, and its events."""
    document = json.loads(trace_file(recording))
    return document["otherData"], document["traceEvents"]


def complete(events: list[dict[str, Any]], group: int) -> list[tuple[int, str, float, float]]:
    """Return row, name, beginning and duration of a group's spans."""
    return [
        (one["tid"], one["name"], one["ts"], one["dur"]) for one in events if (one["ph"], one["pid"]) == ("X", group)
    ]


def test_a_function_goes_on_as_long_as_samples_show_it() -> None:
    """Also while what it calls changes."""
    assert spans({1: ("main", "a")}, {1: ("main", "b")}, {1: ("main",)}) == [
        (1, "a", 0, 1),
        (1, "b", 1, 2),
        (1, "main", 0, 3),
    ]


def test_what_is_called_by_another_function_is_another_span() -> None:
    """Although it has the same name at the same depth."""
    assert spans({1: ("a", "f")}, {1: ("b", "f")}) == [(1, "a", 0, 1), (1, "b", 1, 2), (1, "f", 0, 1), (1, "f", 1, 2)]


def test_threads_come_and_go() -> None:
    """Each has its own stack."""
    assert spans({1: ("a",)}, {1: ("a",), 2: ("b",)}, {2: ("b",)}) == [(1, "a", 0, 2), (2, "b", 1, 3)]


def test_no_more_spans_are_kept_than_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rest of the recording is missing; what is open is closed."""
    monkeypatch.setattr(recording, "MOST_SPANS", 3)
    taken = StackSpans()
    for number in range(100):
        taken.sample(number, {1: (f"f{number}",)})

    assert taken.is_full
    assert [one.name for one in taken.end(100)] == ["f0", "f1", "f2", "f3"]


def test_python_spans_are_in_the_file_with_their_threads_named() -> None:
    """From the outside to the inside, in microseconds since the beginning; numbers are small enough for any viewer."""
    main, other = 140_334_323_398_336, 140_334_323_398_337
    taken = (
        ProfiledSpan(main, "inner", BASE, BASE + MS),
        ProfiledSpan(main, "outer", BASE, BASE + 2 * MS),
        ProfiledSpan(other, "f", BASE, BASE + 500),
    )

    about, events = read(Recording(BASE, {"seconds": 1}, {main: "MainThread", 5: "gone"}, taken))

    assert about == {"seconds": 1, "events_left_out": 0}
    assert complete(events, PYTHON) == [(1, "outer", 0, 2000), (1, "inner", 0, 1000), (2, "f", 0, 0.5)]
    names = {one["tid"]: one["args"]["name"] for one in events if one["name"] == "thread_name"}
    assert names == {1: "MainThread", 2: "thread 2"}


def test_operations_are_in_the_file_with_their_run() -> None:
    """On a row of their device, in the order in which they began."""
    told = metadata(operation("b", 30, 5), operation("a", 10.25, 0.5))

    _, events = read(Recording(BASE, {}, {}, runs=[run(9, told)]))

    assert complete(events, RUNS) == [(1, "run", 0, 1000)]
    assert complete(events, 3) == [(1, "a", 10.25, 0.5), (1, "b", 30, 5)]
    (first, _) = (one["args"] for one in events if one["ph"] == "X" and one["pid"] == 3)
    assert first == {"operation": "a = Mul()", "run": 1}
    assert "TensorFlow: /device:CPU:0" in [one["args"]["name"] for one in events if one["name"] == "process_name"]


def test_operations_at_the_same_time_are_in_different_rows() -> None:
    """A row is used again as soon as it is free, also by another run."""
    first = metadata(operation("a", 0, 10), operation("b", 5, 10))
    second = metadata(operation("c", 10, 1), operation("d", 10, 1))

    _, events = read(Recording(BASE, {}, {}, runs=[run(1, first), run(2, second)]))

    assert [(row, name) for row, name, _, _ in complete(events, 3)] == [(1, "a"), (2, "b"), (1, "c"), (3, "d")]


def test_each_device_has_its_rows() -> None:
    """Named as TensorFlow names it."""
    runs = [run(1, metadata(operation("a", 0, 1))), run(1, metadata(operation("b", 0, 1), device="/device:GPU:0"))]

    _, events = read(Recording(BASE, {}, {}, runs=runs))

    assert [name for _, name, _, _ in complete(events, 3) + complete(events, 4)] == ["a", "b"]


def test_an_older_runtime_tells_microseconds() -> None:
    """They are taken where nanoseconds are missing."""
    told = metadata(NodeExecStats(node_name="a", all_start_micros=BASE // 1000 + 3, all_end_rel_micros=4))

    assert complete(read(Recording(BASE, {}, {}, runs=[run(1, told)]))[1], 3) == [(1, "a", 3, 4)]


@pytest.mark.parametrize("told", [b"", b"\xff\xff\xff"])
def test_a_run_of_which_nothing_can_be_read_has_no_operations(told: bytes) -> None:
    """The run itself is there."""
    _, events = read(Recording(BASE, {}, {}, runs=[run(1, told)]))

    assert len(complete(events, RUNS)) == 1
    assert complete(events, 3) == []


def test_the_file_has_a_largest_size_and_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each half has its own share, so that one does not push out the other."""
    monkeypatch.setattr(perfetto_file, "MOST_BYTES", 1000)
    taken = [ProfiledSpan(1, f"f{number}", BASE + number, BASE + number + 1) for number in range(500)]
    told = metadata(*(operation(f"o{number}", number, 1) for number in range(500)))

    recording = Recording(BASE, {}, {}, taken, [run(1, told)])
    about, events = read(recording)

    assert len(trace_file(recording)) < 3000
    shown = len(complete(events, PYTHON)) + len(complete(events, 3))
    assert complete(events, PYTHON)
    assert complete(events, 3)
    assert about["events_left_out"] == 1000 - shown


DUMP = """Thread 0x00007fd2d1ddd6c0 (most recent call first):
  File "/somewhere/daemon_threads.py", line 43 in _work
  File "/lib/python3.11/threading.py", line 982 in run

Current thread 0x00007fd2de7f46c0 (most recent call first):
  File "<frozen runpy>", line ??? in <module>
  ...
"""


def test_each_thread_has_its_functions_from_the_outside() -> None:
    """With the names of their files; a note that more was left out is none."""
    assert thread_stacks(DUMP) == {
        0x7FD2D1DDD6C0: ("run (threading.py)", "_work (daemon_threads.py)"),
        0x7FD2DE7F46C0: ("<module> (<frozen runpy>)",),
    }


def test_anything_else_is_left_out() -> None:
    """The form belongs to the interpreter, and may change."""
    assert thread_stacks("") == {}
    assert thread_stacks("what is this\n  File without quotes\n") == {}
