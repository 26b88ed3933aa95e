"""Content codings of HTTP bodies, both ways: gzip, and deflate, which is a zlib stream (RFC 9110 8.4.1).

TensorFlow Serving's API knows gzip requests only, in its own way (`core.rest.http_answer.unzipped`).
"""

from __future__ import annotations

import enum
import re
import zlib
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final

from core.errors import InvalidArgument, Unimplemented
from core.rest.http_answer import GZIP_WINDOW, LARGEST_UNZIPPED_BYTES

LEVEL: Final = 1
"""Of zlib: tensors hardly become smaller by more work, and a client waits for it."""
LONGEST_ACCEPTED_BYTES: Final = 1024
"""A longer `Accept-Encoding` is not read: browsers and libraries send some 30 bytes."""
_WEIGHT: Final = re.compile(rb"q=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)")


class Coding(enum.Enum):
    """What was done to a body; the values are the words of HTTP."""

    IDENTITY = "identity"
    GZIP = "gzip"
    DEFLATE = "deflate"


_WINDOWS: Final[Mapping[Coding, int]] = MappingProxyType({Coding.GZIP: GZIP_WINDOW, Coding.DEFLATE: zlib.MAX_WBITS})
_NAMES: Final[Mapping[bytes, Coding]] = MappingProxyType(
    {b"": Coding.IDENTITY, b"x-gzip": Coding.GZIP} | {one.value.encode(): one for one in Coding}
)


def content_coding(header: bytes) -> Coding:
    """Read a `Content-Encoding`, empty where there is none; raises Unimplemented for another one, and for several."""
    coding = _NAMES.get(header.strip(b" \t").lower())
    if coding is None:
        shown = header.decode("utf-8", "replace")
        raise Unimplemented(f"Content-Encoding '{shown}' is not supported; gzip and deflate are")
    return coding


def without_coding(body: bytes | bytearray, coding: Coding) -> bytes:
    """Undo a coding; raises InvalidArgument for a body that is cut or damaged, and for more than 100 MiB of content."""
    unpacker = zlib.decompressobj(_WINDOWS[coding])
    try:
        content = unpacker.decompress(body, LARGEST_UNZIPPED_BYTES + 1)
    except zlib.error as error:
        raise InvalidArgument(f"the body cannot be unpacked as {coding.value}: {error}") from None
    if len(content) > LARGEST_UNZIPPED_BYTES:
        raise InvalidArgument(f"the body unpacks to more than {LARGEST_UNZIPPED_BYTES} bytes")
    if not unpacker.eof:
        raise InvalidArgument(f"the body cannot be unpacked as {coding.value}: it is not complete")
    if unpacker.unused_data:
        count = len(unpacker.unused_data)
        raise InvalidArgument(f"the body cannot be unpacked as {coding.value}: {count} bytes are left over behind it")
    return content


def accepted_coding(header: bytes) -> Coding:
    """Choose the coding of an answer by an `Accept-Encoding`: the one of most weight, gzip before deflate.

    Where the header names neither, or identity with more weight, the body stays as it is; so it does where the header
    accepts nothing that there is, as an answer is of more use than a refusal (RFC 9110 12.5.3).
    """
    if len(header) > LONGEST_ACCEPTED_BYTES:
        return Coding.IDENTITY
    weights: dict[Coding | None, float] = {}
    for item in header.lower().split(b","):
        name, *parameters = (part.strip(b" \t") for part in item.split(b";"))
        weights[_NAMES.get(name)] = _weight(parameters)
    best = max((Coding.GZIP, Coding.DEFLATE), key=lambda one: weights.get(one, 0.0))
    weight = weights.get(best, 0.0)
    return best if weight and weight >= weights.get(Coding.IDENTITY, 0.0) else Coding.IDENTITY


def _weight(parameters: Iterable[bytes]) -> float:
    """Return a weight; 0 where it cannot be read."""
    for one in parameters:
        found = _WEIGHT.fullmatch(one)
        return 0.0 if found is None else float(found[1])
    return 1.0


def with_coding(body: bytes | bytearray | memoryview, coding: Coding) -> bytes:
    """Apply a coding other than identity."""
    packer = zlib.compressobj(LEVEL, wbits=_WINDOWS[coding])
    return packer.compress(body) + packer.flush()
