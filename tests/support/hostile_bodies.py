"""Request bodies that nobody sends by accident: one unit of JSON, or of nothing at all, again and again."""

from __future__ import annotations

UNITS = {
    "open brackets": (b"", b"[", b""),
    "open objects": (b"", b'{"a":', b""),
    "empty lists": (b'{"instances":[', b"[],", b"[]]}"),
    "empty objects": (b'{"instances":[', b"{},", b"{}]}"),
    "small objects": (b'{"instances":[', b'{"x":1},', b"{}]}"),
    "integers": (b'{"inputs":[', b"1,", b"1]}"),
    "huge integers": (b'{"inputs":[', b"99999999999999999999,", b"1]}"),
    "one huge number": (b'{"inputs":[', b"7", b"]}"),
    "one long fraction": (b'{"inputs":[0.', b"0", b"1e9]}"),
    "one long exponent": (b'{"inputs":[1e', b"9", b"]}"),
    "not a number": (b'{"inputs":[', b"NaN,", b"1]}"),
    "half a word": (b'{"inputs":[', b"nul,", b"1]}"),
    "ragged lists": (b'{"inputs":[', b"[1],[],", b"1]}"),
    "empty strings": (b'{"inputs":[', b'"",', b'""]}'),
    "one long string": (b'{"inputs":["', b"a", b'"]}'),
    "escapes": (b'{"inputs":["', rb"\n", b'"]}'),
    "lone surrogates": (b'{"inputs":["', rb"\udc00", b'"]}'),
    "no end": (b'{"inputs":["', b"a", b""),
    "repeated members": (b'{"instances":[1],', b'"a":1,', b'"b":2}'),
    "repeated instances": (b"{", b'"instances":[1],', b'"instances":[1]}'),
    "blanks": (b"", b" ", b""),
    "zeros": (b"", b"\0", b""),
    "UTF-16": (b"\xff\xfe", '{"a":1}'.encode("utf-16-le"), b""),
    "all bytes": (b"", bytes(range(256)), b""),
    "features": (b'{"examples":[{"x":[', b"1,", b"1]}]}"),
    "feature names": (b'{"examples":[{', b'"x":[],', b'"x":1}]}'),
    "examples": (b'{"examples":[', b"{},", b"{}]}"),
}
"""What stands at the beginning, what is repeated, and what stands at the end."""


def hostile(kind: str, size: int) -> bytes:
    """Repeat a unit up to a size."""
    begin, unit, end = UNITS[kind]
    return begin + unit * (size // len(unit)) + end
