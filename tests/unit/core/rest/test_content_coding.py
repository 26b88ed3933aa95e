"""Content codings: which are understood and chosen, and bodies that are damaged, cut or bombs."""

from __future__ import annotations

import gzip
import zlib

import pytest

from core.errors import InvalidArgument, Unimplemented
from core.rest.content_coding import (
    LONGEST_ACCEPTED_BYTES,
    Coding,
    accepted_coding,
    content_coding,
    with_coding,
    without_coding,
)
from core.rest.http_answer import LARGEST_UNZIPPED_BYTES

CONTENT = b'{"inputs": []}' * 100
PACKED = {Coding.GZIP: gzip.compress(CONTENT), Coding.DEFLATE: zlib.compress(CONTENT)}
CODINGS = list(PACKED)


@pytest.mark.parametrize(
    ("header", "coding"),
    [
        (b"", Coding.IDENTITY),
        (b"identity", Coding.IDENTITY),
        (b"gzip", Coding.GZIP),
        (b" GZip\t", Coding.GZIP),
        (b"x-gzip", Coding.GZIP),
        (b"deflate", Coding.DEFLATE),
    ],
)
def test_codings_of_requests_are_known_by_name(header: bytes, coding: Coding) -> None:
    """In any case; x-gzip is gzip (RFC 9110 8.4.1.3)."""
    assert content_coding(header) is coding


@pytest.mark.parametrize("header", [b"br", b"gzip, deflate", b"gzip;q=1", b"\xff"])
def test_another_coding_is_not_supported(header: bytes) -> None:
    """Nor are several at once, nor bytes that are not text."""
    with pytest.raises(Unimplemented, match="is not supported; gzip and deflate are"):
        content_coding(header)


@pytest.mark.parametrize("coding", CODINGS)
def test_a_coding_is_undone(coding: Coding) -> None:
    """Deflate is a zlib stream, as HTTP says and as tritonclient sends it."""
    assert without_coding(PACKED[coding], coding) == CONTENT


@pytest.mark.parametrize("coding", CODINGS)
def test_a_coding_is_applied(coding: Coding) -> None:
    """So that libraries that are not ours undo it."""
    undo = {Coding.GZIP: gzip.decompress, Coding.DEFLATE: zlib.decompress}[coding]

    assert undo(with_coding(bytearray(CONTENT), coding)) == CONTENT


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize(
    ("damaged", "text"),
    [
        (lambda body: body[:-1], "it is not complete"),
        (lambda body: b"", "it is not complete"),
        (lambda body: body + b"ab", "2 bytes are left over behind it"),
        (lambda body: b"nonsense" + body, "incorrect header check"),
    ],
    ids=["cut", "empty", "with more behind it", "not packed"],
)
def test_a_body_that_does_not_unpack_is_refused(coding: Coding, damaged, text: str) -> None:
    """With the reason; what can be unpacked of it is not taken for the whole."""
    with pytest.raises(InvalidArgument, match=text):
        without_coding(damaged(PACKED[coding]), coding)


@pytest.mark.parametrize("coding", CODINGS)
def test_a_bomb_is_bounded(coding: Coding) -> None:
    """A small body cannot claim more memory than a large one may."""
    bomb = with_coding(bytes(LARGEST_UNZIPPED_BYTES + 1), coding)

    with pytest.raises(InvalidArgument, match=f"unpacks to more than {LARGEST_UNZIPPED_BYTES} bytes"):
        without_coding(bomb, coding)


@pytest.mark.parametrize(
    ("header", "coding"),
    [
        (b"", Coding.IDENTITY),
        (b"gzip", Coding.GZIP),
        (b"deflate", Coding.DEFLATE),
        (b"gzip, deflate, br, zstd", Coding.GZIP),
        (b"deflate, gzip", Coding.GZIP),
        (b"GZIP;Q=0.5 , deflate;q=0.8", Coding.DEFLATE),
        (b"x-gzip", Coding.GZIP),
        (b"gzip;q=0", Coding.IDENTITY),
        (b"gzip;q=0.000, deflate;q=0.001", Coding.DEFLATE),
        (b"identity, gzip;q=0.9", Coding.IDENTITY),
        (b"identity;q=0.9, gzip;q=0.9", Coding.GZIP),
        (b"identity;q=0, br", Coding.IDENTITY),
        (b"*", Coding.IDENTITY),
        (b"br, zstd", Coding.IDENTITY),
        (b"gzip;q=nonsense", Coding.IDENTITY),
        (b"gzip;q=1.5", Coding.IDENTITY),
        (b",;,=,\xff", Coding.IDENTITY),
        (b"gzip," + b"a," * LONGEST_ACCEPTED_BYTES, Coding.IDENTITY),
    ],
)
def test_the_coding_of_an_answer_is_the_one_of_most_weight(header: bytes, coding: Coding) -> None:
    """In doubt the body stays as it is, which every client reads."""
    assert accepted_coding(header) is coding
