"""Writes a recording for Perfetto, as Chrome's trace events."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import orjson

from core.profiling.recording import (
    NANOS_PER_MICRO,
    Lanes,
    ProfiledSpan,
    Recording,
    operation_time,
    operations,
    with_small_numbers,
)

MOST_BYTES = 16 * 1024 * 1024
"""Size of each half of the file: Python's and TensorFlow's."""

PYTHON, RUNS, FIRST_DEVICE = 1, 2, 3
"""Ids of the groups of rows, which Perfetto calls processes."""

Event = Mapping[str, object]


def trace_file(recording: Recording) -> bytes:
    """Return the file; events beyond its size are left out, and the file says how many."""
    recording = with_small_numbers(recording)
    python, python_left = _written(_python(recording), MOST_BYTES)
    tensorflow, tensorflow_left = _written(_tensorflow(recording), MOST_BYTES)
    names = (orjson.dumps(event) for event in _thread_names(recording))
    about = {**recording.about, "events_left_out": python_left + tensorflow_left}
    head = b'{"displayTimeUnit":"ms","otherData":' + orjson.dumps(about) + b',"traceEvents":[\n'
    return head + b",\n".join((*names, *python, *tensorflow)) + b"\n]}\n"


def _written(events: Iterable[Event], most_bytes: int) -> tuple[list[bytes], int]:
    """Return events up to the size, and how many are missing."""
    lines: list[bytes] = []
    size = left_out = 0
    for event in events:
        line = orjson.dumps(event)
        size += len(line)
        if size <= most_bytes:
            lines.append(line)
        else:
            left_out += 1
    return lines, left_out


def _thread_names(recording: Recording) -> Iterator[Event]:
    used = {span.thread for span in recording.spans}
    running = {run.span.thread for run in recording.runs}
    for group, threads in ((PYTHON, used), (RUNS, running)):
        for thread in sorted(threads):
            yield _name("thread_name", group, thread, recording.threads.get(thread, f"thread {thread}"))


def _python(recording: Recording) -> Iterator[Event]:
    """Yield the spans of a thread from the outside to the inside, which is how viewers nest them."""
    yield _name("process_name", PYTHON, 0, "Python (sampled)")
    for one in sorted(recording.spans, key=lambda span: (span.began_ns, -span.ended_ns)):
        yield _complete(one, PYTHON, recording.began_ns)


def _tensorflow(recording: Recording) -> Iterator[Event]:
    yield _name("process_name", RUNS, 0, "TensorFlow: traced runs")
    devices: dict[str, Lanes] = {}
    for number, run in enumerate(recording.runs, 1):
        yield _complete(run.span, RUNS, recording.began_ns, run=number)
        for device, operation in operations(run.metadata):
            if device not in devices:
                devices[device] = Lanes(FIRST_DEVICE + len(devices))
                yield _name("process_name", devices[device].group, 0, f"TensorFlow: {device}")
            span = devices[device].placed(operation.node_name, *operation_time(operation))
            yield _complete(
                span, devices[device].group, recording.began_ns, operation=operation.timeline_label, run=number
            )


def _name(kind: str, group: int, row: int, name: str) -> Event:
    return {"ph": "M", "name": kind, "pid": group, "tid": row, "args": {"name": name}}


def _complete(span: ProfiledSpan, group: int, base_ns: int, **args: object) -> Event:
    """Return a span as an event; times are microseconds since the recording began, because large ones lose digits."""
    began, took = (span.began_ns - base_ns) / NANOS_PER_MICRO, (span.ended_ns - span.began_ns) / NANOS_PER_MICRO
    event = {"ph": "X", "name": span.name, "pid": group, "tid": span.thread, "ts": began, "dur": took}
    return {**event, "args": args} if args else event
