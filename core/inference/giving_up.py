"""Whether long work is still worth going on with: it asks now and then, and whoever waits for its result answers.

Reading a hostile body takes a hundred times as long as reading an honest one of its size. What reads does not know how
long somebody waits, or in which thread; what waits cannot interrupt. So every loop over something that a client chose
asks here. Without anybody who would answer, asking costs nothing worth mentioning.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from typing import TypeVar

T = TypeVar("T")

PORTION = 1024
"""After so many items of a long list the question is asked again."""

_is_over: ContextVar[Callable[[], bool] | None] = ContextVar("is_over", default=None)


class GivenUp(Exception):
    """Nobody waits for the result any more, or not here."""


@contextmanager
def giving_up_when(is_over: Callable[[], bool]) -> Iterator[None]:
    """Let work in this context end with GivenUp soon after `is_over` has become true."""
    token = _is_over.set(is_over)
    try:
        yield
    finally:
        _is_over.reset(token)


def after(delay_s: float) -> Callable[[], bool]:
    """Return whether so much time has passed since this call, as a function."""
    ends_at = time.monotonic() + delay_s
    return lambda: time.monotonic() >= ends_at


def giving_up_after(delay_s: float) -> AbstractContextManager[None]:
    """Let work in this context end with GivenUp soon after so much time has passed."""
    return giving_up_when(after(delay_s))


def go_on() -> None:
    """Go on with long work; raises GivenUp when it is not wanted any more."""
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
