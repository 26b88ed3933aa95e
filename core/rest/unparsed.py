"""The bytes of a connection that its HTTP parser has not been given yet, and how many of them it may have next.

An HTTP parser that runs over a whole read makes a request of each head in it: thousands, where a client sends ahead. So
it is given pieces that end where a head ends. It also insists on CRLF; a head whose lines all end in a bare LF is given
to it with CRLF instead (RFC 9112 2.2). A head that mixes both is refused, because an intermediary that takes LF for a
part of a value would have seen other fields than this server.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import Final

LENGTH: Final = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,19})[ \t]*\r\n", re.IGNORECASE)
EMPTY_LINES: Final = re.compile(rb"[\r\n]*")
CR = 0x0D
LONGEST_BEGUN: Final = 3
"""So much of the end of a head may have been taken before the rest of it has arrived."""


class Place(Enum):
    """Where in a request the next byte stands."""

    START = "start"
    HEAD = "head"
    BODY = "body"


def is_one_request(data: bytes, most: int) -> bool:
    """Whether a read begins with a head, in so many bytes, and holds nothing but its body, or the first part of that.

    For a parser that accepts only CRLF and one length, and no chunks beside it, this is certain.
    """
    end = data.find(b"\r\n\r\n", 0, most)
    if end < 0 or data.find(b"\r\n") + 1 != data.find(b"\n"):
        return False
    length = LENGTH.search(data, 0, end + 2)
    return end + 4 + (0 if length is None else int(length[1])) >= len(data)


class MixedLineEndsError(ValueError):
    """A head some of whose lines end in LF, and some in CRLF."""


class _Lines(Enum):
    UNKNOWN = "unknown"
    CRLF = "crlf"
    LF = "lf"


class UnparsedBytes:
    """Bytes in the order of their arrival; `size` of them are left."""

    __slots__ = ("_at", "_data", "_lines", "_tail", "size")

    def __init__(self) -> None:
        self._data = b""
        self._at = 0
        self._tail = b""
        """The last bytes of a head that were taken: its end may lie across two reads."""
        self._lines = _Lines.CRLF
        self.size = 0

    def add(self, data: bytes) -> None:
        """Append what has arrived; without a copy where nothing was left."""
        self._data = self._data[self._at :] + data if self.size else data
        self._at = 0
        self.size += len(data)

    def clear(self) -> None:
        """Drop all."""
        self._data = b""
        self._at = self.size = 0

    def head_ended(self) -> None:
        """Forget how the lines of the last head ended."""
        self._lines = _Lines.CRLF

    def next_piece(self, place: Place, most: int) -> bytes | memoryview:
        """Take at most so many bytes for the parser, and of a head none behind its end.

        Empty lines before a request are dropped (RFC 9112 2.2), so many bytes of them at most; nothing is taken for the
        parser where that leaves nothing. Raises MixedLineEndsError.
        """
        if place is Place.BODY:
            return self._take(min(most, self.size))
        if place is Place.START:
            empty = self._skip_empty_lines(most)
            self._lines, self._tail = _Lines.UNKNOWN, b""
            if empty == most:
                return b""
        if self.size == 0:
            return b""
        if self._lines is _Lines.UNKNOWN:
            self._lines = self._ends_of_lines(most)
        if self._lines is _Lines.LF:
            return self._take_with_crlf(most)
        return self._take_of_head(self._size_to(b"\r\n\r\n", most))

    def _skip_empty_lines(self, most: int) -> int:
        """Drop empty lines among the next bytes, and return their size."""
        found = EMPTY_LINES.match(self._data, self._at, self._at + most)
        size = 0 if found is None else found.end() - self._at
        self._take(size)
        return size

    def _ends_of_lines(self, most: int) -> _Lines:
        """Return how the request line ends, if its end is among the next bytes."""
        end = self._data.find(b"\n", self._at, self._at + most)
        if end < 0:
            return _Lines.UNKNOWN
        before = self._data[end - 1 : end] if end > self._at else self._tail[-1:]
        return _Lines.CRLF if before == b"\r" else _Lines.LF

    def _take_with_crlf(self, most: int) -> bytes:
        piece = bytes(self._take_of_head(self._size_to(b"\n\n", most)))
        if CR in piece:
            raise MixedLineEndsError
        return piece.replace(b"\n", b"\r\n")

    def _size_to(self, end: bytes, most: int) -> int:
        """Return the size of what is left of a head up to its end, which may have begun in what was taken before."""
        begun, more = len(self._tail), len(end) - 1
        across = (self._tail + self._data[self._at : self._at + min(more, most)]).find(end)
        if across >= 0:
            return across + len(end) - begun
        found = self._data.find(end, self._at, self._at + most)
        return min(most, self.size) if found < 0 else found + len(end) - self._at

    def _take_of_head(self, size: int) -> memoryview:
        piece = self._take(size)
        self._tail = (self._tail + piece[-LONGEST_BEGUN:])[-LONGEST_BEGUN:]
        return piece

    def _take(self, size: int) -> memoryview:
        start = self._at
        self._at += size
        self.size -= size
        piece = memoryview(self._data)[start : self._at]
        if self.size == 0:
            self._data, self._at = b"", 0
        return piece
