"""The messages of TensorFlow's profiler service: which versions are recorded, and what its clients get.

A request names neither model nor version, because TensorFlow Serving records its whole process. Here each version has a
process of its own, so the busiest ones are recorded at the same time. A request also names a folder of the server; it
is never used: clients write what the answer contains into the folder that they were given.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from google.protobuf.message import DecodeError, Message

from core.errors import FailedPrecondition, InvalidArgument
from core.profiling.profile_request import LONGEST_S, SHORTEST_S
from core.protos import profiler_pb2, xplane_pb2
from core.routing.table import Route, RoutingTable

M = TypeVar("M", bound=Message)

PROFILER_SERVICE: Final = "tensorflow.ProfilerService"
PROFILER_METHODS: Final = ("Profile", "Terminate", "Monitor")
"""They tell of all models, and cost time: calls for operators."""

MOST_RECORDED: Final = 8
"""Versions that one call records."""

LONGEST_DELAY_S: Final = 60.0
FILE: Final = "xplane.pb"
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9_-]")
_MILLIS_PER_S, _NANOS_PER_S = 1e3, 1e9


@dataclass(frozen=True, slots=True)
class RecordingRequest:
    """What a call of `Profile` asks for; `starts_s` is a time since the epoch, 0 for now."""

    seconds: float
    session: str
    starts_s: float = 0.0
    as_xspace: bool = False

    def delay_s(self, now_s: float) -> float:
        """Return how long to wait before recording; raises InvalidArgument."""
        delay_s = max(self.starts_s - now_s, 0.0) if self.starts_s else 0.0
        if delay_s > LONGEST_DELAY_S:
            raise InvalidArgument(f"The recording begins in {delay_s:.0f} s; it may in {LONGEST_DELAY_S:g} s at most.")
        return delay_s


@dataclass(frozen=True, slots=True)
class WatchRequest:
    """What a call of `Monitor` asks for."""

    seconds: float
    with_time: bool = False


@dataclass(frozen=True, slots=True)
class RecordedVersion:
    """A version and its serialized XSpace."""

    route: Route
    file: bytes


def read_recording_request(raw: bytes) -> RecordingRequest:
    """Read a call of `Profile`; raises InvalidArgument."""
    message = _parsed(raw, profiler_pb2.ProfileRequest())
    options = message.opts
    seconds = _seconds(options.duration_ms or message.duration_ms)
    return RecordingRequest(
        seconds, message.session_id, options.start_timestamp_ns / _NANOS_PER_S, as_xspace=message.emit_xspace
    )


def read_ended_session(raw: bytes) -> str:
    """Read a call of `Terminate`: the session that it ends; raises InvalidArgument."""
    session: str = _parsed(raw, profiler_pb2.TerminateRequest()).session_id
    return session


def read_watch_request(raw: bytes) -> WatchRequest:
    """Read a call of `Monitor`; raises InvalidArgument."""
    message = _parsed(raw, profiler_pb2.MonitorRequest())
    return WatchRequest(_seconds(message.duration_ms), with_time=message.timestamp)


def _parsed(raw: bytes, message: M) -> M:
    try:
        message.ParseFromString(raw)
    except DecodeError:
        raise InvalidArgument(f"The request is not a valid {type(message).__name__} message.") from None
    return message


def _seconds(millis: int) -> float:
    """Return a duration; shorter ones than can be recorded become longer."""
    seconds = millis / _MILLIS_PER_S
    if not 0 < seconds <= LONGEST_S:
        raise InvalidArgument(f"duration_ms is {millis}; it must be from 1 to {LONGEST_S * _MILLIS_PER_S:.0f}.")
    return max(seconds, SHORTEST_S)


def recorded_routes(table: RoutingTable, answered: Mapping[str, float]) -> tuple[Sequence[Route], int]:
    """Return the routes of the versions to record, and how many others there are; raises FailedPrecondition.

    All that answer, or where these are too many, those of the models with most requests; `answered` counts these by
    model. Of a model, the newest version comes first.
    """
    names = sorted(table.models, key=lambda name: (-answered.get(name, 0.0), name))
    models = [table.models[name].routes for name in names]
    found = [routes[number] for routes in models for number in sorted(routes, reverse=True)]
    if not found:
        raise FailedPrecondition("No model answers at present, so that there is nothing to record.")
    return found[:MOST_RECORDED], len(found) - len(found[:MOST_RECORDED])


def recording_answer(versions: Sequence[RecordedVersion], warnings: Sequence[str], *, as_xspace: bool) -> bytes:
    """Answer `Profile`: a file for each version, which TensorBoard shows as a host, or all in one XSpace.

    The client puts its own name of the server before each name; that of a single version is as TensorFlow writes it.
    """
    answer = profiler_pb2.ProfileResponse()
    notes = xplane_pb2.XSpace(warnings=warnings).SerializeToString()
    # XSpaces are joined as protobuf joins messages: by putting one behind the other.
    files = [notes + versions[0].file, *(one.file for one in versions[1:])]
    if as_xspace:
        for file in files:
            answer.xspace.MergeFromString(file)
        return answer.SerializeToString()
    names = _file_names([one.route for one in versions])
    for name, file in zip(names, files, strict=True):
        answer.tool_data.add(name=name, data=file)
    return answer.SerializeToString()


def _file_names(routes: Sequence[Route]) -> list[str]:
    if len(routes) == 1:
        return [FILE]
    names: list[str] = []
    for route in routes:
        name = f"{_UNSAFE.sub('_', route.servable.name)}.{route.servable.version}.{FILE}"
        names.append(name if name not in names else f"{len(names)}.{name}")
    return names


def terminate_answer() -> bytes:
    """Answer `Terminate`."""
    return profiler_pb2.TerminateResponse().SerializeToString()


def monitor_answer(text: str) -> bytes:
    """Answer `Monitor`."""
    return profiler_pb2.MonitorResponse(data=text).SerializeToString()
