"""The body of a request while it comes in: put together in one piece of memory, so that it is never there twice.

A body that is joined from its pieces at the end takes twice its size for a moment. Here its memory is claimed as soon
as a part of it has come: whoever only announces a large body claims nothing.
"""

from __future__ import annotations

from typing import Final, Self

LARGE_BODY_BYTES: Final = 64 * 1024
"""A smaller body is kept as simply as possible; its copies cost less than the account of its memory."""
CLAIM_FACTOR: Final = 8
"""How many times the bytes that have come are claimed at most."""
LARGEST_CLAIM_BYTES: Final = 16 * 1024 * 1024
"""More is not claimed at once, because a claim writes zeros, which others would wait for.

Beyond that a body grows as it comes: of memory of this size the pages are moved, not copied (glibc, as servers set it).
"""


class IncomingBody:
    """Takes pieces by `+=`; `expected_bytes` is what is announced, and may be wrong in both directions."""

    __slots__ = ("_claimable", "_content", "_size", "_view")

    def __init__(self, expected_bytes: int) -> None:
        self._content = bytearray()
        self._claimable = min(expected_bytes, LARGEST_CLAIM_BYTES)
        self._size = 0
        self._view: memoryview | None = None

    def __len__(self) -> int:
        """Return how many bytes have come."""
        return self._size

    def __iadd__(self, piece: bytes | bytearray | memoryview) -> Self:
        """Take the next piece."""
        begin = self._size
        end = self._size = begin + len(piece)
        if self._view is None and end < self._claimable <= end * CLAIM_FACTOR:
            self._claim(begin)
        if self._view is not None and end <= len(self._view):
            self._view[begin:end] = piece
        else:
            self._release(begin)
            self._content += piece
        return self

    def _claim(self, begin: int) -> None:
        whole = bytearray(self._claimable)
        self._view = memoryview(whole)
        self._view[:begin] = self._content
        self._content = whole

    def _release(self, size: int) -> None:
        if self._view is not None:
            self._view.release()
            self._view = None
            del self._content[size:]

    def whole(self) -> bytearray:
        """Return all that has come, without a copy and without what was put behind it; nothing more may come."""
        self._release(self._size)
        del self._content[self._size :]
        return self._content
