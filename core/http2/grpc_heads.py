"""gRPC's headers over HTTP/2: what a call's head asks for, and the header blocks that answer it.

Decoded blocks are cached: the meaning of a block depends only on the connection's table of headers, so it stays valid
while that table does not change. Answers are encoded without the table, so that all of them are the same bytes.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Final

from hpack import Decoder, HPACKError, OversizedHeaderListError

from core.errors import Code
from core.http2.field_rules import CONTENT_LENGTH, METHOD, PATH, PSEUDO, Fields, SoundFields, content_length, is_request
from core.http2.frames import BrokenConnection, Fault

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
BINARY_SUFFIX: Final = b"-bin"
BINARY: Final = re.compile(rb"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}(?:==)?|[A-Za-z0-9+/]{3}=?)?")
"""Base64, padded or not."""


@dataclass(frozen=True, slots=True)
class CallHead:
    """The headers of a request, read.

    `http_status` is that of a refusal where this is not gRPC at all, otherwise 0. `problem` is the error in a gRPC
    call, otherwise empty; `timeout_s` is None for a caller without a deadline. `is_malformed`: the request violates
    HTTP/2 (RFC 9113, 8.1.1), as trailers would; `is_trailers`: these may be the trailers of a request. The answer to a
    request that `is_bodiless` has no body; one that `awaits_answer` may not go on before it has an answer.
    `content_length` is the announced length of the body in bytes, None if it was not announced.
    """

    path: str = ""
    timeout_s: float | None = None
    encoding: str = IDENTITY
    fields: Fields = ()
    http_status: int = 0
    code: Code = Code.OK
    problem: str = ""
    is_malformed: bool = False
    is_trailers: bool = False
    is_bodiless: bool = False
    awaits_answer: bool = False
    content_length: int | None = None

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
        self._sound = SoundFields()
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
        except OversizedHeaderListError as error:
            raise BrokenConnection(Fault.ENHANCE_YOUR_CALM, f"headers of a call that are too large: {error}") from error
        except (HPACKError, IndexError) as error:
            raise BrokenConnection(Fault.COMPRESSION_ERROR, f"headers that cannot be decoded: {error}") from error
        self.decoded_fields = len(fields)
        head = read_head(fields, self._sound)
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


def read_head(fields: Fields, sound: SoundFields | None = None) -> CallHead:
    """Return what decoded headers ask for; never raises: an error is a part of the result."""
    is_sound = (sound or SoundFields()).include(fields)
    names = [name for name, _ in fields]
    if PSEUDO.isdisjoint(names):
        return CallHead(fields=fields, is_malformed=True, is_trailers=is_sound)
    given = dict(reversed(fields))
    # Only lengths that are sound are numbers.
    length = content_length(fields) if is_sound and CONTENT_LENGTH in given else None
    if not is_sound or length == -1 or not is_request(names, given):
        return CallHead(fields=fields, is_malformed=True)
    kind = given.get(b"content-type", b"")
    is_post = given[METHOD] == b"POST"
    if is_post and (kind == b"application/grpc" or CONTENT_TYPE.fullmatch(kind)):
        return _read_call(fields, given, length)
    return CallHead(
        fields=fields,
        http_status=415 if is_post else 405,
        is_bodiless=given[METHOD] == b"HEAD",
        awaits_answer=given[METHOD] == b"CONNECT" or b"expect" in given,
        content_length=length,
    )


def _read_call(fields: Fields, given: Mapping[bytes, bytes], length: int | None) -> CallHead:
    path = given[PATH].decode("latin-1")
    encoding = given.get(b"grpc-encoding", b"identity").decode("latin-1")
    if encoding not in ENCODINGS:
        text = f"Messages compressed with {encoding!r} are not understood; {', '.join(ENCODINGS)} are."
        return CallHead(path, fields=fields, code=Code.UNIMPLEMENTED, problem=text)
    names, values = zip(*fields, strict=True)
    size = FIELD_BYTES * len(fields) + sum(map(len, names)) + sum(map(len, values))
    if size > LARGEST_HEAD_BYTES:
        text = f"The headers of a call may have {LARGEST_HEAD_BYTES} bytes; these have {size}."
        return CallHead(path, None, encoding, (), code=Code.RESOURCE_EXHAUSTED, problem=text)
    if odd := _odd_binary(fields, names):
        text = f"The header {odd} must be base64, because its name ends in -bin."
        return CallHead(path, None, encoding, fields, code=Code.INTERNAL, problem=text)
    timeout = given.get(b"grpc-timeout")
    if timeout is None:
        return CallHead(path, None, encoding, fields, content_length=length)
    matched = TIMEOUT.fullmatch(timeout)
    if matched is None:
        text = f"The header grpc-timeout cannot be read: {timeout.decode('latin-1')!r}"
        return CallHead(path, None, encoding, fields, code=Code.INTERNAL, problem=text)
    return CallHead(path, int(matched[1]) * UNITS_S[matched[2]], encoding, fields, content_length=length)


def _odd_binary(fields: Fields, names: Iterable[bytes]) -> str:
    """Return the name of a binary header that is not base64; empty if there is none."""
    if BINARY_SUFFIX not in b" ".join(names):
        return ""
    for name, value in fields:
        if name.endswith(BINARY_SUFFIX) and not all(BINARY.fullmatch(one.strip(b" \t")) for one in value.split(b",")):
            return name.decode("latin-1")
    return ""


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


RETRY_PUSHBACK: Final = "grpc-retry-pushback-ms"
"""The trailer by which a server tells a client's retry policy how long to wait (gRFC A6)."""


def pushback_ms(retry_after_s: float) -> str:
    """Return the value of RETRY_PUSHBACK: whole milliseconds, at least one."""
    return str(max(1, math.ceil(retry_after_s * 1000)))


@lru_cache(MOST_KNOWN_BLOCKS)
def retry_trailers(retry_after_s: float) -> tuple[tuple[str, str], ...]:
    """Return the metadata that tells a client when to repeat a refused call; none for 0 seconds."""
    return ((RETRY_PUSHBACK, pushback_ms(retry_after_s)),) if retry_after_s else ()


@lru_cache(MOST_KNOWN_BLOCKS)
def refusal_block(code: int, message: str, retry_after_s: float = 0.0) -> bytes:
    """Encode an answer that is only a status; a time after which to try again is told if it is more than 0.

    The last ones are kept: a server that refuses, refuses many in the same words.
    """
    fields = (*_OPENING, *status_fields(code, message))
    if retry_after_s:
        fields = (*fields, (RETRY_PUSHBACK.encode(), pushback_ms(retry_after_s).encode()))
    return header_block(fields)


HTTP_REFUSAL: Final = b"This port speaks gRPC: send POST with the content-type application/grpc.\n"
"""The body of an answer to a request that is not gRPC."""


def http_refusal_block(status: int) -> bytes:
    """Encode the headers of the answer to a request that is not gRPC; its body is HTTP_REFUSAL."""
    fields = [
        (b":status", b"%d" % status),
        (b"content-type", b"text/plain"),
        (b"content-length", b"%d" % len(HTTP_REFUSAL)),
    ]
    return header_block([*fields, (b"allow", b"POST")] if status == 405 else fields)


LONGEST_MESSAGE_BYTES: Final = 1024


TRUNCATED: Final = "...TRUNCATED"


def bounded_text(text: str) -> str:
    """Return a text cut to what fits into response headers; a character is never cut in two."""
    encoded = text.encode(errors="replace")
    if len(encoded) <= LONGEST_MESSAGE_BYTES:
        return encoded.decode()
    return encoded[:LONGEST_MESSAGE_BYTES].decode(errors="ignore") + TRUNCATED
