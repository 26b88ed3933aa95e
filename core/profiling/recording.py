"""What was recorded of a process: functions of its Python threads, and the operations of TensorFlow's runs.

Times are nanoseconds since the epoch, in both halves: TensorFlow's clock and Python's are the same. Everything here is
bounded, so that a recording of a busy replica cannot use up the memory.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePath

from google.protobuf.message import DecodeError

from core.protos import step_stats_pb2

MOST_SPANS = 200_000
"""Spans of Python frames that are kept."""

NANOS_PER_MICRO = 1000

Stack = tuple[str, ...]
"""Names of functions, the outermost first."""

_THREAD = re.compile(r"(?:Current thread|Thread) 0x([0-9a-f]+)")
_FRAME = re.compile(r'  File "(.*)", line (?:\d+|\?\?\?) in (.*)')


@dataclass(frozen=True, slots=True)
class ProfiledSpan:
    """A function or operation with its time in a thread."""

    thread: int
    name: str
    began_ns: int
    ended_ns: int


@dataclass(frozen=True, slots=True)
class TracedRun:
    """A run of the model with all its operations, as a serialized RunMetadata of TensorFlow."""

    span: ProfiledSpan
    metadata: bytes


@dataclass(frozen=True, slots=True)
class Recording:
    """A recording from a moment on: `about` is written into the file, `threads` are their names."""

    began_ns: int
    about: Mapping[str, object]
    threads: Mapping[int, str]
    spans: Sequence[ProfiledSpan] = ()
    runs: Sequence[TracedRun] = ()


@dataclass(slots=True)
class StackSpans:
    """Turns samples of stacks into spans: a function lasts while consecutive samples show it at the same depth."""

    spans: list[ProfiledSpan] = field(default_factory=list)
    _open: dict[int, list[tuple[str, int]]] = field(default_factory=dict)

    @property
    def is_full(self) -> bool:
        """Whether no further spans are kept."""
        return len(self.spans) >= MOST_SPANS

    def sample(self, at_ns: int, stacks: Mapping[int, Stack]) -> None:
        """Add the stacks of all threads; the functions of a missing thread have ended."""
        if self.is_full:
            return
        for thread in tuple(self._open.keys() | stacks.keys()):
            self._follow(thread, stacks.get(thread, ()), at_ns)

    def _follow(self, thread: int, stack: Stack, at_ns: int) -> None:
        known = self._open.setdefault(thread, [])
        same = 0
        while same < min(len(known), len(stack)) and known[same][0] == stack[same]:
            same += 1
        self.spans += [ProfiledSpan(thread, name, began_ns, at_ns) for name, began_ns in known[same:]]
        known[same:] = [(name, at_ns) for name in stack[same:]]

    def end(self, at_ns: int) -> Sequence[ProfiledSpan]:
        """Close the open spans and return all."""
        for thread in tuple(self._open):
            self._follow(thread, (), at_ns)
        return self.spans


def with_small_numbers(recording: Recording) -> Recording:
    """Number the threads from 1, because viewers truncate the large ids of the system and would confuse threads."""
    threads = sorted({one.thread for one in (*recording.spans, *(run.span for run in recording.runs))})
    number = {thread: place for place, thread in enumerate(threads, 1)}
    return replace(
        recording,
        threads={number[thread]: name for thread, name in recording.threads.items() if thread in number},
        spans=[replace(one, thread=number[one.thread]) for one in recording.spans],
        runs=[replace(one, span=replace(one.span, thread=number[one.span.thread])) for one in recording.runs],
    )


def operations(metadata: bytes) -> Iterator[tuple[str, step_stats_pb2.NodeExecStats]]:
    """Yield the operations of a run in the order of their beginning; none for a run that cannot be read."""
    try:
        read = step_stats_pb2.RunMetadata.FromString(metadata)
    except DecodeError:
        return
    for device in read.step_stats.dev_stats:
        for operation in sorted(device.node_stats, key=operation_time):
            yield device.device, operation


def operation_time(operation: step_stats_pb2.NodeExecStats) -> tuple[int, int]:
    """Return beginning and end, in nanoseconds where TensorFlow reports them and in microseconds otherwise."""
    if operation.all_start_nanos:
        return operation.all_start_nanos, operation.all_start_nanos + operation.all_end_rel_nanos
    began_ns = operation.all_start_micros * NANOS_PER_MICRO
    return began_ns, began_ns + operation.all_end_rel_micros * NANOS_PER_MICRO


class Lanes:
    """Rows of one device: operations that run at the same time are in different ones."""

    def __init__(self, group: int) -> None:
        self.group = group
        self._free_at_ns: list[int] = []

    def placed(self, name: str, began_ns: int, ended_ns: int) -> ProfiledSpan:
        """Return an operation in the first free row; they are numbered from 1."""
        for place, free_at_ns in enumerate(self._free_at_ns):
            if free_at_ns <= began_ns:
                self._free_at_ns[place] = ended_ns
                return ProfiledSpan(place + 1, name, began_ns, ended_ns)
        self._free_at_ns.append(ended_ns)
        return ProfiledSpan(len(self._free_at_ns), name, began_ns, ended_ns)


def thread_stacks(dump: str) -> dict[int, Stack]:
    """Return the functions of each thread by its identity, the outermost first; lines of another form are left out."""
    innermost_first: dict[int, list[str]] = {}
    functions: list[str] = []
    for line in dump.splitlines():
        thread = _THREAD.match(line)
        if thread is not None:
            functions = innermost_first.setdefault(int(thread[1], 16), [])
            continue
        frame = _FRAME.fullmatch(line)
        if frame is not None:
            functions.append(f"{frame[2]} ({PurePath(frame[1]).name})")
    return {thread: tuple(reversed(found)) for thread, found in innermost_first.items()}
