"""What goes with a call to a model server behind its body: the trace context, and the headers that request logs keep.

Both headers of a trace context, one a line (`core.telemetry.trace_context.pack`); then, only where a log keeps some, a
line of JSON with the names and values of headers.
"""

from __future__ import annotations

from typing import Final

import orjson

from core.routing.transport import Call, Headers
from core.telemetry.trace_context import TraceContext, pack, unpack

_NO_TRACE: Final = b"\n"


def packed_trailer(call: Call) -> bytes:
    """Return what goes with a call; empty when nothing does."""
    if not call.headers:
        return b"" if call.trace is None else pack(call.trace)
    trace = _NO_TRACE if call.trace is None else pack(call.trace)
    return b"%b\n%b" % (trace, orjson.dumps(call.headers))


def unpacked_trailer(raw: bytes | bytearray) -> tuple[TraceContext | None, Headers]:
    """Return the trace context and the headers that came with a call; what cannot be read is left out."""
    if not raw:
        return None, ()
    parent, _, rest = bytes(raw).partition(b"\n")
    state, _, listed = rest.partition(b"\n")
    trace = unpack(b"%b\n%b" % (parent, state)) if parent else None
    return trace, _headers(listed) if listed else ()


def _headers(listed: bytes) -> Headers:
    try:
        pairs = orjson.loads(listed)
        return tuple((str(name), str(value)) for name, value in pairs)
    except (ValueError, TypeError):
        return ()
