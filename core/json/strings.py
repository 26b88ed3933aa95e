"""JSON strings: quoting of raw bytes as RapidJSON does it, and base64 as TensorFlow Serving reads it.

Strings inside the server are `str` made with `surrogateescape`, so bytes that are not UTF-8 survive the way in and out.
"""

from __future__ import annotations

import binascii
import contextlib
import re
from collections.abc import Mapping
from types import MappingProxyType

from core.errors import InvalidArgument

NEEDS_ESCAPE = re.compile(rb'["\\\x00-\x1f]')
SHORT_ESCAPES: Mapping[bytes, bytes] = MappingProxyType(
    {
        b'"': rb"\"",
        b"\\": rb"\\",
        b"\b": rb"\b",
        b"\f": rb"\f",
        b"\n": rb"\n",
        b"\r": rb"\r",
        b"\t": rb"\t",
    }
)
BASE64_SPACE = b" \t\n\v\f\r"
BAD_BASE64 = "Unable to base64 decode"
BASE64 = re.compile(rb"([A-Za-z0-9+/]*+)([=.]{0,2})")


def raw_bytes(text: str) -> bytes:
    """Return the bytes that a string had in its document."""
    return text.encode("utf-8", "surrogateescape")


def text_of(raw: bytes) -> str:
    """Hold raw bytes as a string, whatever they are."""
    return raw.decode("utf-8", "surrogateescape")


def is_text(text: str) -> bool:
    """Whether a string was Unicode in its document, and not bytes of another kind or half of a surrogate pair."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def quote(raw: bytes) -> bytes:
    """Write raw bytes as a JSON string; bytes that are not UTF-8 pass as they are."""
    if NEEDS_ESCAPE.search(raw) is None:
        return b'"%b"' % raw
    return b'"%b"' % NEEDS_ESCAPE.sub(_escape, raw)


def decode_base64(text: str) -> bytes:
    """Decode the standard alphabet (TensorFlow Serving, b64 objects).

    Padding may be absent or made of dots, and white space is skipped.
    """
    raw = raw_bytes(text)
    if len(raw) % 4 == 0 and not raw.endswith(b"==="):
        with contextlib.suppress(binascii.Error):
            return binascii.a2b_base64(raw, strict_mode=True)
    match = BASE64.fullmatch(raw) or BASE64.fullmatch(raw.translate(None, BASE64_SPACE))
    if match is None:
        raise InvalidArgument(BAD_BASE64)
    digits, padding = match[1], match[2]
    missing = -len(digits) % 4
    if missing == 3 or len(padding) not in {0, missing}:
        raise InvalidArgument(BAD_BASE64)
    return binascii.a2b_base64(digits + b"=" * missing)


def _escape(match: re.Match[bytes]) -> bytes:
    character = match[0]
    return SHORT_ESCAPES.get(character) or b"\\u%04X" % character[0]
