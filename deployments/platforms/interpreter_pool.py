"""A pool of interpreters: each serves one run at a time, and a run waits while none is free."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Generic, Protocol, TypeVar

from core.errors import DeadlineExceeded, Unavailable
from core.routing.transport import TIMED_OUT

Shapes = Mapping[int, tuple[int, ...]]


class Interpreting(Protocol):
    """An interpreter, with the present shapes of its inputs."""

    shapes: dict[int, tuple[int, ...]]


One = TypeVar("One", bound=Interpreting)


class InterpreterPool(Generic[One]):
    """Lends interpreters to threads; makes them when they are first needed, and anew after a run that failed.

    One more than `size` is kept for a thread that must not wait: it is made only if such a thread finds none.
    """

    def __init__(self, make: Callable[[], One], first: One, size: int, closed: str) -> None:
        self._make = make
        self._closed_text = closed
        self._free = [first]
        self._unmade = size - 1
        self._spare: One | None = None
        self._changed = threading.Condition()
        self._is_closed = False

    @contextmanager
    def lent(self, shapes: Shapes, timeout_s: float | None = None, *, may_wait: bool = True) -> Iterator[One]:
        """Lend an interpreter, if possible one whose inputs have these shapes; drop it if the run raises.

        Without `may_wait` only one thread may call at a time. Raises DeadlineExceeded if none is free in time, and
        Unavailable once the pool is closed.
        """
        one, is_spare = self._taken(shapes, timeout_s, may_wait=may_wait)
        try:
            yield one
        except BaseException:
            self._put_back(None, is_spare=is_spare)
            raise
        self._put_back(one, is_spare=is_spare)

    def close(self) -> None:
        """Lend no more; the interpreters are freed when they are back."""
        with self._changed:
            self._is_closed = True
            self._free.clear()
            self._spare = None
            self._changed.notify_all()

    def _taken(self, shapes: Shapes, timeout_s: float | None, *, may_wait: bool) -> tuple[One, bool]:
        with self._changed:
            if may_wait and not self._changed.wait_for(self._can_lend, timeout_s):
                raise DeadlineExceeded(TIMED_OUT)
            if self._is_closed:
                raise Unavailable(self._closed_text)
            if self._free:
                return self._fitting(shapes), False
            is_spare = not self._unmade
            if is_spare and self._spare is not None:
                return self._spare, True
            self._unmade -= not is_spare
        return self._made(is_spare=is_spare), is_spare

    def _can_lend(self) -> bool:
        return bool(self._free or self._unmade or self._is_closed)

    def _fitting(self, shapes: Shapes) -> One:
        """Take the interpreter that was used last, among those of the right shapes if there are any."""
        fits = (
            place for place in reversed(range(len(self._free))) if shapes.items() <= self._free[place].shapes.items()
        )
        return self._free.pop(next(fits, -1))

    def _made(self, *, is_spare: bool) -> One:
        """Make an interpreter, which may take long, while others come and go."""
        try:
            return self._make()
        except BaseException:
            self._put_back(None, is_spare=is_spare)
            raise

    def _put_back(self, one: One | None, *, is_spare: bool) -> None:
        with self._changed:
            if self._is_closed:
                return
            if is_spare:
                self._spare = one
            elif one is None:
                self._unmade += 1
            else:
                self._free.append(one)
            self._changed.notify()
