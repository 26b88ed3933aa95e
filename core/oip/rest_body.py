"""Bodies of REST inference on their way between router and model server: the client's bytes and the length of the JSON.

A body of the binary tensor data extension is JSON with raw tensors behind it; the length of the JSON is in a header of
HTTP. Model servers see no headers, so the length follows the body: four bytes at its end, which cost no copy.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from core.errors import Internal, InvalidArgument
from core.json.strings import quote, text_of

JSON_LENGTH_HEADER: Final = "Inference-Header-Content-Length"
_LENGTH: Final = struct.Struct("<i")
LENGTH_BYTES: Final = _LENGTH.size
ALL_JSON: Final = -1
"""The length of the JSON where no header says it: all of the body."""


class RestBody(NamedTuple):
    """The JSON of a body and the raw tensors behind it; `is_raw_request`: there is no JSON, only one tensor."""

    json: memoryview
    raw: memoryview
    is_raw_request: bool = False


def footer(json_bytes: int) -> bytes:
    """Return what follows a body."""
    return _LENGTH.pack(json_bytes)


def json_length(header: bytes, body_bytes: int) -> int:
    """Return the length of the JSON that the header of a request gives; raises InvalidArgument for an impossible one.

    `header` is empty where the request has none.
    """
    if not header:
        return ALL_JSON
    text = header.strip(b" \t")
    if not text.isdigit() or len(text) > len(str(body_bytes)) + 20 or int(text) > body_bytes:
        raise InvalidArgument(
            f"{JSON_LENGTH_HEADER} is {text_of(quote(header))}, and not a number of bytes from 0 to {body_bytes}, the "
            "size of the body"
        )
    return int(text)


def cut_footer(body: bytes | bytearray) -> tuple[bytes | memoryview, int]:
    """Return a body without its footer, and the length of its JSON; a bytearray is shown by a view, without a copy.

    It stays as it is: whoever compares the answer with another version's reads it after the caller got it.
    """
    if len(body) < LENGTH_BYTES:
        raise Internal("A forwarded body lacks the length of its JSON.")
    (length,) = _LENGTH.unpack_from(body, len(body) - LENGTH_BYTES)
    if isinstance(body, bytes):
        return body[:-LENGTH_BYTES], length
    return memoryview(body)[:-LENGTH_BYTES], length


def split_body(body: bytes | bytearray | memoryview) -> RestBody:
    """Cut a forwarded body, with its footer, into JSON and raw tensors; nothing is copied."""
    view = memoryview(body)
    if len(view) < LENGTH_BYTES:
        raise Internal("A forwarded body lacks the length of its JSON.")
    content = view[:-LENGTH_BYTES]
    (length,) = _LENGTH.unpack_from(view, len(content))
    if length == ALL_JSON:
        return RestBody(content, content[len(content) :])
    return RestBody(content[:length], content[length:], is_raw_request=length == 0)
