"""W3C Trace Context: parses `traceparent` and `tracestate`, and encodes a context for model servers.

Callers may send anything. A value that the specification calls invalid is ignored, never an error of the request.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

TRACEPARENT: Final = "traceparent"
TRACESTATE: Final = "tracestate"
MOST_STATE_MEMBERS: Final = 32

_WHITE: Final = " \t"
_SAMPLED: Final = 1
_FIRST_VERSION: Final = "00"
_PARENT: Final = re.compile(
    r"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.DOTALL
)
_KEY: Final = r"[a-z][a-z0-9_*/-]{0,255}|[a-z0-9][a-z0-9_*/-]{0,240}@[a-z][a-z0-9_*/-]{0,13}"
_VALUE: Final = r"[ -+\--<>-~]{0,255}[!-+\--<>-~]"
_MEMBER: Final = re.compile(rf"({_KEY})={_VALUE}")


@dataclass(frozen=True, slots=True)
class TraceContext:
    """A reference to a span: ids in hexadecimal, whether it is recorded, and the `tracestate` of its trace."""

    trace_id: str
    span_id: str
    is_sampled: bool = True
    state: str = ""

    @property
    def traceparent(self) -> str:
        """Return the header that names this span as the parent."""
        return f"{_FIRST_VERSION}-{self.trace_id}-{self.span_id}-{int(self.is_sampled):02x}"

    def child(self, span_id: str) -> TraceContext:
        """Return the context of a span below this one."""
        return replace(self, span_id=span_id)


def parse_trace_context(traceparents: Sequence[str], tracestates: Sequence[str] = ()) -> TraceContext | None:
    """Parse the headers of a request, all of each name; None when there is no valid parent."""
    if len(traceparents) != 1:
        return None
    found = _PARENT.fullmatch(traceparents[0].strip(_WHITE))
    if found is None:
        return None
    version, trace_id, span_id, flags, more = found.groups()
    if version == _FIRST_VERSION and more is not None:
        return None
    return TraceContext(trace_id, span_id, bool(int(flags, 16) & _SAMPLED), parse_state(tracestates))


def parse_state(tracestates: Sequence[str]) -> str:
    """Join the `tracestate` headers of a request; empty when they are not valid together."""
    members = [stripped for one in ",".join(tracestates).split(",") if (stripped := one.strip(_WHITE))]
    if len(members) > MOST_STATE_MEMBERS:
        return ""
    found = [_MEMBER.fullmatch(member) for member in members]
    keys = {one[1] for one in found if one is not None}
    return ",".join(members) if len(keys) == len(members) else ""


def pack(context: TraceContext) -> bytes:
    """Encode a context for a model server: both headers, one a line."""
    return f"{context.traceparent}\n{context.state}".encode("ascii")


def unpack(raw: bytes | bytearray) -> TraceContext | None:
    """Decode the result of `pack`; None for anything else."""
    parent, _, state = raw.decode("latin-1").partition("\n")
    return parse_trace_context((parent,), (state,))
