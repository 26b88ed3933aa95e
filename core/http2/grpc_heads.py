"""gRPC's headers over HTTP/2: what a call's head asks for, and the header blocks that answer it.

Decoded blocks are cached: the meaning of a block depends only on the connection's table of headers, so it stays valid
while that table does not change. Answers are encoded without the table, so that all of them are the same bytes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from hpack import Decoder, HPACKError

from core.errors import Code
from core.http2.frames import BrokenConnection, Fault

Fields = tuple[tuple[bytes, bytes], ...]

LARGEST_HEAD_BYTES: Final = 64 * 1024
"""The limit for the headers of a call, as HTTP/2 counts them; it is sent to peers."""
LARGEST_DECODED_BYTES: Final = 256 * 1024
"""More than this ends the connection; between the two limits, the call is refused and the connection goes on."""
FIELD_BYTES: Final = 32
"""The size of a header beside its name and its value (RFC 9113, 10.5.1)."""
MOST_KNOWN_BLOCKS: Final = 256
LONGEST_KNOWN_BLOCK_BYTES: Final = 1024
MOST_KNOWN_FIELDS: Final = 64
"""A block of a thousand bytes can refer to a thousand headers of the table."""
IDENTITY: Final = "identity"
ENCODINGS: Final = (IDENTITY, "deflate", "gzip")
TIMEOUT: Final = re.compile(rb"(\d{1,8})([HMSmun])")
UNITS_S: Final[Mapping[bytes, float]] = MappingProxyType(
    {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}
)
CONTENT_TYPE: Final = re.compile(rb"application/grpc(?:[;+].*)?", re.IGNORECASE | re.DOTALL)
UNFIT_FOR_MESSAGE: Final = re.compile(rb"[^ -$&-~]|^ | $")
"""All but printable ASCII, the percent sign, and blanks at both ends, which HTTP/2 forbids."""
PSEUDO: Final = frozenset({b":method", b":scheme", b":path", b":authority"})
FORBIDDEN: Final = frozenset({b"connection", b"proxy-connection", b"keep-alive", b"transfer-encoding", b"upgrade"})
"""Headers of HTTP/1.1 that mean nothing in HTTP/2."""


@dataclass(frozen=True, slots=True)
class CallHead:
    """The headers of a request, read.

    `http_status` is that of a refusal where this is not gRPC at all, otherwise 0. `problem` is the error in a gRPC
    call, otherwise empty; `timeout_s` is None for a caller without a deadline. `is_malformed`: the request violates
    HTTP/2.
    """

    path: str = ""
    timeout_s: float | None = None
    encoding: str = IDENTITY
    fields: Fields = ()
    http_status: int = 0
    code: Code = Code.OK
    problem: str = ""
    is_malformed: bool = False

    @property
    def is_trailers(self) -> bool:
        """Whether these are trailers, not the headers of a request."""
        return not any(name.startswith(b":") for name, _ in self.fields)

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """The caller's own headers, as text."""
        own = (one for one in self.fields if not one[0].startswith(b":"))
        return tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in own)


class HeadReader:
    """Decodes the header blocks of one connection, in the order in which they come.

    `decoded_fields`: those of the last block that was not known.
    """

    def __init__(self) -> None:
        self._decoder = Decoder(LARGEST_DECODED_BYTES)
        self._known: dict[bytes, CallHead] = {}
        self.decoded_fields = 0

    def read(self, block: bytes) -> CallHead:
        """Return the headers of a block; raises BrokenConnection, after which the connection cannot go on."""
        known = self._known.get(block)
        return self._decode(block) if known is None else known

    def _decode(self, block: bytes) -> CallHead:
        entries = self._decoder.header_table.dynamic_entries
        before = len(entries), entries[0] if entries else None
        try:
            fields = tuple((bytes(one[0]), bytes(one[1])) for one in self._decoder.decode(block, raw=True))
        except (HPACKError, IndexError) as error:
            raise BrokenConnection(Fault.COMPRESSION_ERROR, f"headers that cannot be decoded: {error}") from error
        self.decoded_fields = len(fields)
        head = read_head(fields)
        # An entry that did not fit into a smaller table changes the meaning of later blocks once the table has grown.
        if len(entries) != before[0] or (entries and entries[0] is not before[1]) or _changes_table_size(block):
            self._known.clear()
        elif len(block) <= LONGEST_KNOWN_BLOCK_BYTES and len(fields) <= MOST_KNOWN_FIELDS:
            if len(self._known) >= MOST_KNOWN_BLOCKS:
                self._known.clear()
            self._known[block] = head
        return head


def _changes_table_size(block: bytes) -> bool:
    return bool(block) and block[0] & 0xE0 == 0x20


def read_head(fields: Fields) -> CallHead:
    """Return what decoded headers ask for; never raises: an error is a part of the result."""
    given = dict(reversed(fields))
    if _is_malformed(fields, given):
        return CallHead(fields=fields, is_malformed=True)
    if given[b":method"] != b"POST":
        return CallHead(fields=fields, http_status=405)
    if not CONTENT_TYPE.fullmatch(given.get(b"content-type", b"")):
        return CallHead(fields=fields, http_status=415)
    return _read_call(fields, given)


def _read_call(fields: Fields, given: Mapping[bytes, bytes]) -> CallHead:
    path = given[b":path"].decode("latin-1")
    encoding = given.get(b"grpc-encoding", b"identity").decode("latin-1")
    if encoding not in ENCODINGS:
        text = f"Messages compressed with {encoding!r} are not understood; {', '.join(ENCODINGS)} are."
        return CallHead(path, None, fields=fields, code=Code.UNIMPLEMENTED, problem=text)
    size = sum(FIELD_BYTES + len(name) + len(value) for name, value in fields)
    if size > LARGEST_HEAD_BYTES:
        text = f"The headers of a call may have {LARGEST_HEAD_BYTES} bytes; these have {size}."
        return CallHead(path, None, encoding, (), code=Code.RESOURCE_EXHAUSTED, problem=text)
    timeout = given.get(b"grpc-timeout")
    if timeout is None:
        return CallHead(path, None, encoding, fields)
    matched = TIMEOUT.fullmatch(timeout)
    if matched is None:
        text = f"The header grpc-timeout cannot be read: {timeout.decode('latin-1')!r}"
        return CallHead(path, None, encoding, fields, code=Code.INTERNAL, problem=text)
    return CallHead(path, int(matched[1]) * UNITS_S[matched[2]], encoding, fields)


def _is_malformed(fields: Fields, given: Mapping[bytes, bytes]) -> bool:
    """Whether HTTP/2 itself forbids a request with these headers (RFC 9113, 8.2 and 8.3)."""
    names = [name for name, _ in fields]
    pseudo = [name for name in names if name.startswith(b":")]
    if pseudo != names[: len(pseudo)] or len(set(pseudo)) < len(pseudo) or not PSEUDO.issuperset(pseudo):
        return True
    if not (given.get(b":method") and given.get(b":scheme") and given.get(b":path")):
        return True
    return not FORBIDDEN.isdisjoint(names) or any(name != name.lower() for name in names)


def header_block(fields: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Encode headers literally: no table, no Huffman code."""
    block = bytearray()
    for name, value in fields:
        block += b"\x00" + _text(name) + _text(value)
    return bytes(block)


def _text(text: bytes) -> bytes:
    """Encode a string: its length in a prefix of 7 bits, then its bytes."""
    length = len(text)
    if length < 127:
        return bytes([length]) + text
    encoded, rest = bytearray([127]), length - 127
    while rest >= 128:
        encoded.append(rest & 127 | 128)
        rest >>= 7
    encoded.append(rest)
    return bytes(encoded) + text


_OPENING: Final = (
    (b":status", b"200"),
    (b"content-type", b"application/grpc"),
    (b"grpc-accept-encoding", ",".join(ENCODINGS).encode()),
)
OPENING_BLOCK: Final = header_block(_OPENING)
"""Headers before the first message of an answer."""
GOOD_END_BLOCK: Final = header_block([(b"grpc-status", b"0")])
"""Trailers of an answer that ended well."""


def status_fields(code: int, message: str) -> tuple[tuple[bytes, bytes], ...]:
    """Return a status as headers; the text is percent-encoded."""
    status = (b"grpc-status", b"%d" % code)
    if not message:
        return (status,)
    text = UNFIT_FOR_MESSAGE.sub(lambda found: b"%%%02X" % found[0][0], message.encode(errors="replace"))
    return status, (b"grpc-message", text)


def end_block(code: int, message: str) -> bytes:
    """Encode the trailers of an answer."""
    return header_block(status_fields(code, message))


def refusal_block(code: int, message: str) -> bytes:
    """Encode an answer that is only a status."""
    return header_block((*_OPENING, *status_fields(code, message)))


def http_refusal_block(status: int) -> bytes:
    """Encode the answer to a request that is not gRPC."""
    return header_block([(b":status", b"%d" % status), (b"content-length", b"0")])


LONGEST_MESSAGE_BYTES: Final = 1024


TRUNCATED: Final = "...TRUNCATED"


def bounded_text(text: str) -> str:
    """Return a text cut to what fits into response headers; a character is never cut in two."""
    encoded = text.encode(errors="replace")
    if len(encoded) <= LONGEST_MESSAGE_BYTES:
        return encoded.decode()
    return encoded[:LONGEST_MESSAGE_BYTES].decode(errors="ignore") + TRUNCATED
