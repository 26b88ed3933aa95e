"""Schedules the batches of a version: all of its queues share the execution slots in turns.

A batch leaves its queue only when a slot is free. Until then it fills up further, so that load itself makes batches
larger.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import Generic

from core.inference.batch_plan import BatchKind, QueueKey
from core.inference.batch_queue import BatchQueue, Limits, Piece, Request


class BatchSchedule(Generic[Request]):
    """All queues of one version, and how many of its slots are taken; time is passed in, never read."""

    def __init__(self, limits: Limits, slots: int) -> None:
        self._limits = limits
        self._free = slots
        self._queues: OrderedDict[QueueKey, BatchQueue[Request]] = OrderedDict()
        self.waiting = 0
        """Requests, or pieces of them, that wait."""

    def add(self, request: Request, rows: int, key: QueueKey, kind: BatchKind, now: float) -> list[Piece[Request]]:
        """Let a request wait in the queue of its tensors; raises as `BatchQueue.add` does."""
        queue = self._queues.get(key) or BatchQueue(self._limits)
        pieces = queue.add(request, rows, kind, now)
        self._queues[key] = queue
        self.waiting += len(pieces)
        return pieces

    def withdraw(self, key: QueueKey, piece: Piece[Request]) -> bool:
        """Take a piece out that is no longer wanted; False when its batch has left the queue already."""
        queue = self._queues.get(key)
        if queue is None or not queue.withdraw(piece):
            return False
        self.waiting -= 1
        if not queue:
            del self._queues[key]
        return True

    def take(self, now: float) -> list[Piece[Request]]:
        """Take a slot and return the pieces of a batch that is ready; none without a batch or a slot.

        The queue that it came from has its next turn last.
        """
        if not self._free:
            return []
        for key, queue in self._queues.items():
            pieces = queue.take(now)
            if pieces:
                self._free -= 1
                self.waiting -= len(pieces)
                self._end_turn(key, queue)
                return pieces
        return []

    def _end_turn(self, key: QueueKey, queue: BatchQueue[Request]) -> None:
        if queue:
            self._queues.move_to_end(key)
        else:
            del self._queues[key]

    def finish(self) -> None:
        """Free the slot of a batch that has run."""
        self._free += 1

    def wakes_at(self) -> float:
        """Return the time when there will be a batch to take, unless something happens before; infinite for never."""
        if not self._free:
            return math.inf
        return min((queue.ready_at() for queue in self._queues.values()), default=math.inf)
