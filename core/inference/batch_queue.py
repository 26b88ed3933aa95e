"""One queue of batches: when a batch closes, when it is ready to run, and when a request is refused.

Requests are never reordered. A batch takes requests until one does not fit, until it is full, or until its timeout has
passed (TensorFlow Serving, forming a batch).
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Generic, Self, TypeVar

from core.config.model_config import BatchingParameters
from core.errors import InvalidArgument, Unavailable
from core.inference.batch_plan import BatchKind

MICROS_PER_S = 1e6
FULL = "The batch scheduling queue to which this task was submitted is full;"

Request = TypeVar("Request", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Limits:
    """What bounds a queue, in rows, batches and seconds."""

    batch: int
    request: int
    enqueued: int
    timeout_s: float
    splits: bool = False

    @classmethod
    def of(cls, parameters: BatchingParameters) -> Self:
        """Take them from the parameters; without splitting, one batch may always wait (TensorFlow Serving)."""
        return cls(
            batch=parameters.execution_batch_size,
            request=parameters.max_batch_size,
            enqueued=max(1, parameters.max_enqueued_batches),
            timeout_s=parameters.batch_timeout_micros / MICROS_PER_S,
            splits=parameters.enable_large_batch_splitting,
        )


@dataclass(slots=True, eq=False)
class Piece(Generic[Request]):
    """Rows of one request that run together: all of them, unless a large request was cut."""

    request: Request
    start: int
    rows: int
    queued_at: float
    batch: Batch[Request]

    @property
    def is_waiting(self) -> bool:
        """Whether its batch is still in the queue."""
        return self.batch.is_waiting


@dataclass(slots=True, eq=False)
class Batch(Generic[Request]):
    """Pieces that wait to run together, in the order of their arrival."""

    kind: BatchKind
    opened_at: float
    size: int = 0
    is_waiting: bool = True
    pieces: list[Piece[Request]] = field(default_factory=list)


def piece_rows(rows: int, room: int, limit: int) -> list[int]:
    """Cut a request: the first piece fills the room of the open batch, the others are full but for the last."""
    if rows <= (room or limit):
        return [rows]
    first = room or limit
    whole, rest = divmod(rows - first, limit)
    return [first, *[limit] * whole, *([rest] if rest else [])]


def size_of(rows: int) -> int:
    """Return the room that rows take; a request without rows takes some too, so that the queue stays bounded."""
    return max(1, rows)


class BatchQueue(Generic[Request]):
    """Batches of one queue: for each kind at most one that is open, and those that are closed."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._open: OrderedDict[BatchKind, Batch[Request]] = OrderedDict()
        self._closed: OrderedDict[Batch[Request], None] = OrderedDict()

    def __len__(self) -> int:
        """Count the batches that wait."""
        return len(self._open) + len(self._closed)

    def add(self, request: Request, rows: int, kind: BatchKind, now: float) -> list[Piece[Request]]:
        """Let a request wait.

        Raises InvalidArgument when it is too large and Unavailable when there is no room; then none of it is queued.
        """
        if rows > self._limits.request:
            raise InvalidArgument(f"Task size {rows} is larger than maximum input batch size {self._limits.request}")
        pieces = []
        start = 0
        for size in self._cut(rows, kind):
            pieces.append(self._put(request, start, size, self._batch_with_room(size, kind, now), now))
            start += size
        return pieces

    def _cut(self, rows: int, kind: BatchKind) -> list[int]:
        if not self._limits.splits:
            self._require_batch(rows, kind)
            return [rows]
        self._require_capacity(rows, kind)
        # Pieces that grow to the width of different neighbours might not fit together any more.
        return [rows] if kind.is_padded else piece_rows(rows, self._room(kind), self._limits.batch)

    def _require_batch(self, rows: int, kind: BatchKind) -> None:
        if size_of(rows) > self._room(kind) and len(self) >= self._limits.enqueued:
            raise Unavailable(
                f"{FULL} currently {len(self)} batches enqueued and max_enqueued_batches is {self._limits.enqueued}"
            )

    def _require_capacity(self, rows: int, kind: BatchKind) -> None:
        limit, most = self._limits.batch, self._limits.enqueued
        room = self._room(kind) if len(self) else limit
        waiting = max(1, len(self))
        capacity = (most - waiting) * limit + room
        if size_of(rows) > capacity:
            raise Unavailable(
                f"{FULL} task size is {rows} but scheduling capacity is only {capacity} "
                f"(num_enqueued_batches={waiting}, max_enqueued_batches={most}, open_batch_size={limit - room}, "
                f"max_execution_batch_size={limit})"
            )

    def _room(self, kind: BatchKind) -> int:
        batch = self._open.get(kind)
        return 0 if batch is None else self._limits.batch - batch.size

    def _batch_with_room(self, rows: int, kind: BatchKind, now: float) -> Batch[Request]:
        batch = self._open.get(kind)
        if batch is not None and size_of(rows) <= self._room(kind):
            return batch
        if batch is not None:
            self._close(batch)
        batch = self._open[kind] = Batch(kind, now)
        return batch

    def _put(self, request: Request, start: int, rows: int, batch: Batch[Request], now: float) -> Piece[Request]:
        piece = Piece(request, start, rows, now, batch)
        batch.pieces.append(piece)
        batch.size += size_of(rows)
        if batch.size >= self._limits.batch:
            self._close(batch)
        return piece

    def _close(self, batch: Batch[Request]) -> None:
        del self._open[batch.kind]
        self._closed[batch] = None

    def withdraw(self, piece: Piece[Request]) -> bool:
        """Take a piece out that is no longer wanted; False when its batch has left the queue already."""
        batch = piece.batch
        if not batch.is_waiting or piece not in batch.pieces:
            return False
        batch.pieces.remove(piece)
        batch.size -= size_of(piece.rows)
        if not batch.pieces:
            self._remove(batch)
        return True

    def _remove(self, batch: Batch[Request]) -> None:
        batch.is_waiting = False
        if batch in self._closed:
            del self._closed[batch]
        else:
            del self._open[batch.kind]

    def take(self, now: float) -> list[Piece[Request]]:
        """Remove the oldest batch that is ready and return its pieces; none when no batch is ready."""
        batch = next(iter(self._closed), None)
        opened = next(iter(self._open.values()), None)
        if opened is not None and opened.opened_at + self._limits.timeout_s <= now:
            batch = opened if batch is None or opened.opened_at < batch.opened_at else batch
        if batch is None:
            return []
        self._remove(batch)
        pieces, batch.pieces = batch.pieces, []
        return pieces

    def ready_at(self) -> float:
        """Return the time when a batch is ready: long ago for one that is closed, never when nothing waits."""
        if self._closed:
            return -math.inf
        opened = next(iter(self._open.values()), None)
        return math.inf if opened is None else opened.opened_at + self._limits.timeout_s
