"""A copy on its way to the replica that is to answer and compare it: the request, stable's answer, and the tolerances.

Behind the request's body, which stays where it is, follow the answer, the tolerances in JSON, and a footer with the
method of the request and the lengths of body and tolerances: nothing of the body need be copied to read it.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Final, NamedTuple

import orjson

from core.delivery.split import Tolerance
from core.errors import InvalidArgument
from core.routing.direct_frames import LARGEST_PAYLOAD_BYTES
from core.routing.transport import Call, Method

_FOOTER: Final = struct.Struct("<BII")

Body = bytes | bytearray


class RequestCopy(NamedTuple):
    """A request, the answer that its caller got, and how far another answer may be from that, by output."""

    call: Call
    answer: Body
    tolerances: Mapping[str, Tolerance] = {}


def packed_copy(copy: RequestCopy, timeout_s: float) -> Call | None:
    """Return the call that carries a copy; None for one that is too large for a frame."""
    call = copy.call
    tolerances = orjson.dumps({name: tuple(one) for name, one in copy.tolerances.items()}) if copy.tolerances else b""
    body_bytes = len(call.body)
    if body_bytes + len(copy.answer) + len(tolerances) + _FOOTER.size > LARGEST_PAYLOAD_BYTES:
        return None
    footer = _FOOTER.pack(int(call.method), body_bytes, len(tolerances))
    body = b"".join((call.body, copy.answer, tolerances, footer))
    return Call(Method.COMPARE, body, timeout_s, tensor_at=call.tensor_at)


def unpacked_copy(raw: Body) -> RequestCopy:
    """Return the copy that a call carries; raises InvalidArgument. A bytearray is cut in place."""
    if len(raw) < _FOOTER.size:
        raise InvalidArgument("A copy lacks its footer.")
    number, body_bytes, tolerances_bytes = _FOOTER.unpack_from(raw, len(raw) - _FOOTER.size)
    tolerances_at = len(raw) - _FOOTER.size - tolerances_bytes
    if body_bytes > tolerances_at:
        raise InvalidArgument("A copy is shorter than its footer says.")
    try:
        method = Method(number)
        listed = orjson.loads(raw[tolerances_at : tolerances_at + tolerances_bytes]) if tolerances_bytes else {}
        tolerances = {str(name): Tolerance(float(rtol), float(atol)) for name, (rtol, atol) in listed.items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise InvalidArgument(f"A copy cannot be read: {error}") from None
    answer = raw[body_bytes:tolerances_at]
    if isinstance(raw, bytes):
        return RequestCopy(Call(method, raw[:body_bytes]), answer, tolerances)
    try:
        del raw[body_bytes:]
    except BufferError:  # the connection still shows the memory that it received into
        return RequestCopy(Call(method, bytes(raw[:body_bytes])), answer, tolerances)
    return RequestCopy(Call(method, raw), answer, tolerances)  # type: ignore[arg-type]  # as from a large frame
