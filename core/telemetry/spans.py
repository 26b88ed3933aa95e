"""Spans of requests, with the attributes of OpenTelemetry's semantic conventions where these have some.

A span is made when its work has ended, so it is a plain value. Further attributes begin with `ray_model_server.`.
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
"""Codes that are not the caller's mistake, by OpenTelemetry's rule for servers."""

_NO_CHARACTER: Final = re.compile("[\ud800-\udfff]")

Value = str | int | float | bool
Attributes = Mapping[str, Value]


class SpanKind(enum.Enum):
    """The role of a span between processes, as OpenTelemetry names it."""

    INTERNAL = "internal"
    SERVER = "server"
    CLIENT = "client"


@dataclass(frozen=True, slots=True)
class Span:
    """A piece of work that has ended; times are nanoseconds since 1970, `parent_id` is empty at the root of a trace.

    `links` are related spans that are not its parent. `error` says that the work failed, and how.
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
    """Return the attributes of a gRPC call."""
    return {"rpc.system": "grpc", "rpc.service": service, "rpc.method": method}


def code_error(code: Code) -> str:
    """Return the error of an answer; empty for a success, and for a mistake of the caller."""
    return code.name if code in FAULTS else ""


def rows_in(feeds: Mapping[str, np.ndarray]) -> int:
    """Return the number of rows of a run: the first dimension of its first input; 0 where there is none."""
    first = next(iter(feeds.values()), None)
    return int(first.shape[0]) if first is not None and first.ndim else 0


def cleaned(attributes: Attributes) -> dict[str, Value]:
    """Return attributes with values that are valid UTF-8 and of bounded length."""
    return {name: _text(value) if isinstance(value, str) else value for name, value in attributes.items()}


def _text(value: str) -> str:
    return _NO_CHARACTER.sub("\ufffd", value[:LONGEST_VALUE])


@dataclass(frozen=True, slots=True)
class TracedProcess:
    """The process that spans come from, as their resource attributes name it."""

    kind: str
    instance: str
