"""Cooperative cancellation: long loops over client input check whether anyone still waits for the result.

Reading a hostile body takes a hundred times as long as reading an honest one of its size. The reader does not know the
deadline or the thread it runs in, and the waiting side cannot interrupt it. So every loop over something that a client
chose checks here. Outside of such a context the check costs next to nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from typing import TypeVar

T = TypeVar("T")

PORTION = 1024
"""After so many items of a long list the check is made again."""

_is_over: ContextVar[Callable[[], bool] | None] = ContextVar("is_over", default=None)


class GivenUp(Exception):
    """The result is not waited for any more, or not in this thread."""


@contextmanager
def giving_up_when(is_over: Callable[[], bool]) -> Iterator[None]:
    """Let work in this context end with GivenUp soon after `is_over` has become true."""
    token = _is_over.set(is_over)
    try:
        yield
    finally:
        _is_over.reset(token)


def after(delay_s: float) -> Callable[[], bool]:
    """Return a function that says whether so much time has passed since this call."""
    ends_at = time.monotonic() + delay_s
    return lambda: time.monotonic() >= ends_at


def giving_up_after(delay_s: float) -> AbstractContextManager[None]:
    """Let work in this context end with GivenUp soon after so much time has passed."""
    return giving_up_when(after(delay_s))


def go_on() -> None:
    """Check that long work is still wanted; raises GivenUp if it is not."""
    is_over = _is_over.get()
    if is_over is not None and is_over():
        raise GivenUp


def patiently(items: Sequence[T]) -> Iterator[T]:
    """Yield the items of a list one by one; raises GivenUp as `go_on` does."""
    if len(items) < PORTION or _is_over.get() is None:
        return iter(items)
    return _in_portions(items)


def _in_portions(items: Sequence[T]) -> Iterator[T]:
    for index, item in enumerate(items):
        if not index % PORTION:
            go_on()
        yield item
