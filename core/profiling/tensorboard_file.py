"""Writes a recording for TensorBoard's profile plug-in, as a serialized XSpace (TensorFlow, XSpace).

Rows of this machine are in the plane of the host's threads: functions of Python threads, runs of the model, and
operations of the CPU. Each GPU has a plane of its own. Operations are named as TensorFlow's own profiler names them,
`node:Type`, which is how the plug-in's tables find them. Times are relative to the beginning of the recording; since
the epoch, they would be too large for the plug-in.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from core.profiling.recording import (
    Lanes,
    ProfiledSpan,
    Recording,
    operation_time,
    operations,
    with_small_numbers,
)
from core.protos import step_stats_pb2, xplane_pb2

MOST_EVENTS = 250_000
"""Events that are kept, Python's and TensorFlow's together: about 8 MB."""

HOST, ENVIRONMENT = "/host:CPU", "Task Environment"
RUN = "SessionRun"
"""What TensorFlow's profiler calls a run of a graph."""

_PICOS_PER_NANO = 1000
_GPU = re.compile(r"(?i)device:GPU:(\d+)")
_TYPE = re.compile(r" = ([A-Za-z_]\w*)\(")


def xspace_file(recording: Recording, name: str, ended_ns: int) -> bytes:
    """Return the serialized XSpace of a process; `name` is that of its version."""
    recording = with_small_numbers(recording)
    space = xplane_pb2.XSpace(hostnames=[name])
    host = _Plane(space.planes.add(name=HOST), recording.began_ns)
    planes = {HOST: host}
    left_out = 0
    for number, (plane, row, span, label) in enumerate(_events(recording)):
        if number >= MOST_EVENTS:
            left_out += 1
            continue
        if plane not in planes:
            planes[plane] = _Plane(space.planes.add(id=len(planes), name=plane), recording.began_ns)
        planes[plane].add(row, span, label)
    if left_out:
        space.warnings.append(f"{name}: {left_out} events were left out, because the recording became too large.")
    environment = _Plane(space.planes.add(name=ENVIRONMENT), recording.began_ns)
    environment.describe("profile_start_time", recording.began_ns)
    environment.describe("profile_stop_time", ended_ns)
    return space.SerializeToString()


Placed = tuple[str, str, ProfiledSpan, str]
"""The plane and the row of a span, and what else is known of it."""


def _events(recording: Recording) -> Iterator[Placed]:
    """Yield the events of a row from the outside to the inside; runs and operations first, as they are fewer."""
    lanes: dict[str, Lanes] = {}
    threads = {thread: f"{name} ({thread})" for thread, name in recording.threads.items()}
    for run in recording.runs:
        yield HOST, f"runs in {threads.get(run.span.thread, run.span.thread)}", replace(run.span, name=RUN), ""
        for device, operation in operations(run.metadata):
            lane = lanes.setdefault(device, Lanes(0))
            span = lane.placed(_operation_name(operation), *operation_time(operation))
            yield _plane_of(device), f"{device} ({span.thread})", span, operation.timeline_label
    for one in sorted(recording.spans, key=lambda span: (span.began_ns, -span.ended_ns)):
        yield HOST, f"python {threads.get(one.thread, one.thread)}", one, ""


def _plane_of(device: str) -> str:
    gpu = _GPU.search(device)
    return HOST if gpu is None else f"/device:GPU:{gpu[1]}"


def _operation_name(operation: step_stats_pb2.NodeExecStats) -> str:
    kind = _TYPE.search(operation.timeline_label)
    return operation.node_name if kind is None else f"{operation.node_name}:{kind[1]}"


class _Plane:
    """Fills a plane: every name stands in it once."""

    def __init__(self, plane: xplane_pb2.XPlane, began_ns: int) -> None:
        self._plane = plane
        self._began_ns = began_ns
        self._rows: dict[str, xplane_pb2.XLine] = {}
        self._names: dict[tuple[str, str], int] = {}
        self._stats: dict[str, int] = {}

    def add(self, row: str, span: ProfiledSpan, label: str) -> None:
        """Add an event to a row."""
        line = self._rows.get(row)
        if line is None:
            number = len(self._rows) + 1
            line = self._rows[row] = self._plane.lines.add(id=number, name=row)
        # An operation that had begun before the recording is cut at its beginning, as times are never negative.
        began_ns = max(span.began_ns - self._began_ns, 0)
        line.events.add(
            metadata_id=self._name(span.name, label),
            offset_ps=began_ns * _PICOS_PER_NANO,
            duration_ps=max(span.ended_ns - self._began_ns - began_ns, 0) * _PICOS_PER_NANO,
        )

    def describe(self, name: str, number: int) -> None:
        """Add what is known of the whole plane."""
        self._plane.stats.add(metadata_id=self._stat(name), uint64_value=number)

    def _name(self, name: str, label: str) -> int:
        number = self._names.get((name, label))
        if number is None:
            number = self._names[name, label] = len(self._names) + 1
            written = self._plane.event_metadata[number]
            written.id, written.name = number, name
            if label:
                written.stats.add(metadata_id=self._stat("long_name"), str_value=label)
        return number

    def _stat(self, name: str) -> int:
        number = self._stats.get(name)
        if number is None:
            number = self._stats[name] = len(self._stats) + 1
            written = self._plane.stat_metadata[number]
            written.id, written.name = number, name
        return number
