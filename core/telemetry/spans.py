"""Spans: what a trace shows of a request, under OpenTelemetry's names where it has some.

A span is made when it has ended, so it is a plain value. Attributes that are ours alone begin with `ray_model_server.`.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from core.errors import Code
from core.telemetry.trace_context import TraceContext

MODEL: Final = "ray_model_server.model"
VERSION: Final = "ray_model_server.version"
LABEL: Final = "ray_model_server.label"
SIGNATURE: Final = "ray_model_server.signature"
METHOD: Final = "ray_model_server.method"
TRANSPORT: Final = "ray_model_server.transport"
CODE: Final = "ray_model_server.code"
ROWS: Final = "ray_model_server.rows"
BATCH_ROWS: Final = "ray_model_server.batch.rows"
BATCH_REQUESTS: Final = "ray_model_server.batch.requests"
BATCH_PADDING: Final = "ray_model_server.batch.padding"
ERROR_TYPE: Final = "error.type"
STATUS: Final = "http.response.status_code"

ROUTE_SPAN: Final = "route"
CALL_SPAN: Final = "call"
QUEUE_SPAN: Final = "queue"
BATCH_SPAN: Final = "batch"
RUN_SPAN: Final = "run"

LONGEST_VALUE: Final = 1024
"""Characters of a value that are kept; clients choose paths and names."""

FAULTS: Final = frozenset(
    {
        Code.UNKNOWN,
        Code.DEADLINE_EXCEEDED,
        Code.UNIMPLEMENTED,
        Code.INTERNAL,
        Code.UNAVAILABLE,
        Code.DATA_LOSS,
    }
)
"""The codes that are no mistake of the caller's, as OpenTelemetry sorts them for servers."""

_NO_CHARACTER: Final = re.compile("[\ud800-\udfff]")

Value = str | int | float | bool
Attributes = Mapping[str, Value]


class SpanKind(enum.Enum):
    """Where a span stands between processes."""

    INTERNAL = "internal"
    SERVER = "server"
    CLIENT = "client"


@dataclass(frozen=True, slots=True)
class Span:
    """A piece of work that has ended; times are nanoseconds since 1970, `parent_id` is empty at the root of a trace.

    `links` are spans that this one has to do with without being below them. `error` says that the work failed, and how.
    """

    name: str
    kind: SpanKind
    context: TraceContext
    parent_id: str
    begin_ns: int
    end_ns: int
    attributes: Attributes = field(default_factory=dict)
    links: tuple[TraceContext, ...] = ()
    error: str = ""


def grpc_attributes(service: str, method: str) -> dict[str, Value]:
    """Describe a gRPC call."""
    return {"rpc.system": "grpc", "rpc.service": service, "rpc.method": method}


def code_error(code: Code) -> str:
    """Return what is wrong with an answer; empty for a good one, and for a mistake of the caller's."""
    return code.name if code in FAULTS else ""


def rows_in(feeds: Mapping[str, np.ndarray]) -> int:
    """Count the rows of a run: the first dimension of its first input; 0 where there is none."""
    first = next(iter(feeds.values()), None)
    return int(first.shape[0]) if first is not None and first.ndim else 0


def cleaned(attributes: Attributes) -> dict[str, Value]:
    """Make values fit for a trace: no bytes that are no UTF-8, and none without end."""
    return {name: _text(value) if isinstance(value, str) else value for name, value in attributes.items()}


def _text(value: str) -> str:
    return _NO_CHARACTER.sub("\ufffd", value[:LONGEST_VALUE])


@dataclass(frozen=True, slots=True)
class TracedProcess:
    """What the spans of a process say of it."""

    kind: str
    instance: str
