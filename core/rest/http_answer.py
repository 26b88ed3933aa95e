"""HTTP answers that do not depend on a model: headers, error bodies of the HTTP layer, preflight, gzip bodies."""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from types import MappingProxyType

from core.errors import HTTP_STATUS, Code
from core.json.strings import quote, raw_bytes
from core.routing.transport import Answer

JSON = (b"content-type", b"application/json")
HTML = (b"content-type", b"text/html")
EMPTY_HTML = (b"content-type", b"text/html; charset=ISO-8859-1")
CORS_HEADERS = (
    (b"access-control-allow-origin", b"*"),
    (b"access-control-allow-methods", b"POST, GET"),
    (b"access-control-allow-headers", b"Content-Type"),
)
LONGEST_KEPT_BYTES = 1024
"""Errors of longer texts are made anew each time."""
LARGEST_UNZIPPED_BYTES = 100 * 1024 * 1024
GZIP_WINDOW = 16 + zlib.MAX_WBITS

REASONS: Mapping[int, str] = MappingProxyType(
    {
        400: "Bad Request",
        404: "Not Found",
        408: "Request Timeout",
        414: "URI Too Long",
        417: "Expectation Failed",
        431: "Request Header Fields Too Large",
        501: "Not Implemented",
        505: "HTTP Version Not Supported",
    }
)
KNOWN_METHODS = frozenset({"GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH"})
"""Methods that get an answer of the API, if only that they are not possible; others are not implemented."""

Header = tuple[bytes, bytes]


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """A complete HTTP response; `code` is the one that it is counted under."""

    status: int
    body: bytes | bytearray | memoryview = b""
    headers: tuple[Header, ...] = (JSON,)
    code: Code = Code.OK


def answer_of(answer: Answer) -> HttpAnswer:
    """Return the response for a model server's answer: the body itself, or the error text in JSON."""
    if answer.code is Code.OK:
        return HttpAnswer(200, answer.body)
    return _error_answer(answer.code, bytes(answer.body), answer.retry_after_s)


def of_version(answer: HttpAnswer, version: int) -> HttpAnswer:
    """Return the response with the number of the version that gave it."""
    return replace(answer, headers=(*answer.headers, version_header(version)))


def version_header(version: int) -> Header:
    """Return the header that says which version has answered."""
    return (b"x-model-version", b"%d" % version)


def error_answer(code: Code, message: str, retry_after_s: float = 0.0) -> HttpAnswer:
    """Return the JSON response for an error."""
    return _error_answer(code, raw_bytes(message), retry_after_s)


def _error_answer(code: Code, text: bytes, retry_after_s: float) -> HttpAnswer:
    made = _repeated_error if len(text) <= LONGEST_KEPT_BYTES else _repeated_error.__wrapped__
    return made(code, text, retry_after_s)


@lru_cache(100)
def _repeated_error(code: Code, text: bytes, retry_after_s: float) -> HttpAnswer:
    """Return the response for an error; a server that refuses, refuses many in the same words."""
    headers = (JSON, *retry_headers(code, retry_after_s))
    return HttpAnswer(HTTP_STATUS.get(code, 500), _error_object(text), headers, code)


def retry_headers(code: Code, retry_after_s: float = 0.0) -> tuple[Header, ...]:
    """Return the header that says in how many seconds to try again: whole ones, at least one (RFC 9110, 10.2.3).

    Who is told that the server is unavailable may always try again in a second.
    """
    if not retry_after_s and code is not Code.UNAVAILABLE:
        return ()
    return ((b"retry-after", b"%d" % max(1, math.ceil(retry_after_s))),)


def html_error(status: int) -> HttpAnswer:
    """Return the response of the HTTP layer itself (TensorFlow Serving, errors made by its HTTP library)."""
    reason = REASONS[status]
    page = f"<HTML><HEAD>\n<TITLE>{status} {reason}</TITLE>\n</HEAD><BODY>\n<H1>{reason}</H1>\n</BODY></HTML>\n"
    return HttpAnswer(status, page.encode(), (HTML, (b"connection", b"close")))


def wrong_method(method: str, path: str) -> HttpAnswer:
    """Refuse a method on a page of ours, and name the right one."""
    text = f"{method} is not possible here. Use GET {path}."
    return HttpAnswer(405, error_body(text), (JSON, (b"allow", b"GET, HEAD")))


def preflight(origin: bytes) -> HttpAnswer:
    """Answer OPTIONS (TensorFlow Serving, CORS preflight)."""
    known = b"http://" in origin or b"https://" in origin
    if known:
        return HttpAnswer(200, b"", (EMPTY_HTML,))
    return HttpAnswer(400, b"", (EMPTY_HTML,), Code.INVALID_ARGUMENT)


def unzipped(body: bytes | bytearray) -> bytes:
    """Return an unpacked gzip body; empty where it cannot be unpacked to its end, or exceeds 100 MiB.

    Source of the rule: TensorFlow Serving, gzip requests.
    """
    unpacker = zlib.decompressobj(GZIP_WINDOW)
    try:
        content = unpacker.decompress(body, LARGEST_UNZIPPED_BYTES + 1)
    except zlib.error:
        return b""
    if not unpacker.eof or unpacker.unused_data or len(content) > LARGEST_UNZIPPED_BYTES:
        return b""
    return content


def error_body(message: str) -> bytes:
    """Write the error object: four spaces, no newline at the end, the message in full."""
    return _error_object(raw_bytes(message))


def _error_object(text: bytes) -> bytes:
    return b'{\n    "error": %b\n}' % quote(text)
