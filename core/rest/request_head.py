"""What is wrong with the head of an HTTP/1.1 request that its parser let pass, as the status of the refusal.

A parser checks syntax. What is checked here decides where a body ends and whom a request is for, which intermediaries
must not understand in another way (request smuggling, RFC 9112 11.2).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

BAD_REQUEST = 400
EXPECTATION_FAILED = 417
NOT_IMPLEMENTED = 501
VERSION_NOT_SUPPORTED = 505

HOST = re.compile(rb"(?:\[[0-9A-Za-z:.%~_-]+\]|[0-9A-Za-z\-._~!$&'()*+,;=%]*)(?::[0-9]*)?")
"""A host and an optional port (RFC 3986 3.2.2, 3.2.3)."""
REQUEST_LINE = re.compile(rb"^([!#$%&'*+.^_`|~0-9A-Za-z-]+) +[^\s]+ +HTTP/1\.[0-9]\r?$", re.MULTILINE)
NO_TARGET = re.compile(rb"[A-Za-z][A-Za-z0-9+.-]*://[^/?#]+")
"""A target in absolute-form without a path."""


def is_host(value: bytes) -> bool:
    """Whether a value of a `Host` field is one."""
    return HOST.fullmatch(value) is not None


def head_refusal(target: bytes, method: bytes, version: str, headers: Sequence[tuple[bytes, bytes]]) -> int | None:
    """Return the status that refuses a head, None for a good one; names of fields are in lower case.

    Sources of the rules: RFC 9110 2.5 (versions: a higher minor one counts as 1.1), 7.2 (host), 10.1.1 (expectations);
    RFC 9112 3.2.4 (asterisk-form), 6.1 (transfer codings).
    """
    if not version.startswith("1."):
        # Of a request line without version, parsers say that it is 0.9.
        return BAD_REQUEST if version == "0.9" else VERSION_NOT_SUPPORTED
    if target == b"*" and method != b"OPTIONS":
        return BAD_REQUEST
    hosts = [value for name, value in headers if name == b"host"]
    if len(hosts) > 1 or (version != "1.0" and not hosts) or not all(map(is_host, hosts)):
        return BAD_REQUEST
    codings = [value for name, value in headers if name == b"transfer-encoding"]
    if codings and (refusal := _codings_refusal(codings, version)):
        return refusal
    expected = [value.lower() for name, value in headers if name == b"expect"]
    return EXPECTATION_FAILED if expected and expected != [b"100-continue"] and version != "1.0" else None


def _codings_refusal(values: Sequence[bytes], version: str) -> int | None:
    """Return the status that refuses transfer codings: only `chunked`, once, is understood.

    Where `chunked` is not the last one, the end of the body is not known, so the request is a bad one, not merely one
    that is not understood. The same holds for HTTP/1.0, which has no transfer codings.
    """
    if version == "1.0":
        return BAD_REQUEST
    codings = [coding.strip(b" \t").lower() for coding in b",".join(values).split(b",")]
    if codings == [b"chunked"]:
        return None
    if codings[-1] != b"chunked" or codings.count(b"chunked") > 1 or b"" in codings:
        return BAD_REQUEST
    return NOT_IMPLEMENTED


def with_path(target: bytes) -> bytes:
    """Return a target; one in absolute-form without a path gets its root (RFC 9110 4.2.3)."""
    found = NO_TARGET.match(target)
    return (
        target
        if found is None or target[found.end() :].startswith(b"/")
        else target.replace(found[0], found[0] + b"/", 1)
    )


def syntax_refusal(piece: bytes, known: frozenset[bytes]) -> int:
    """Return the status that refuses bytes that no parser took.

    501 where a request line in them is a good one but for a method that is not known (RFC 9110 9.1), 400 otherwise.
    """
    methods = {found[1] for found in REQUEST_LINE.finditer(piece)}
    return NOT_IMPLEMENTED if methods - known else BAD_REQUEST
