"""What a client's program compares, by the letter of its acceptance case."""

from __future__ import annotations

import json
import time
import traceback
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any


class Checks:
    """Remembers how much was compared, and what was not as it should be."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._different: dict[str, list[str]] = {}
        self._letter = ""

    def same(self, what: str, got: object, expected: object) -> None:
        """Compare two values."""
        self._counts[self._letter] += 1
        if got != expected:
            self._differs(f"{what}: {got!r} is not {expected!r}")

    def has(self, what: str, got: str, part: str) -> None:
        """See that a text has a part."""
        self._counts[self._letter] += 1
        if part not in got:
            self._differs(f"{what}: {part!r} is not in {got!r}")

    def until(self, what: str, holds: Callable[[], bool], timeout_s: float = 30.0) -> None:
        """Wait for a condition."""
        self._counts[self._letter] += 1
        deadline = time.monotonic() + timeout_s
        while not holds():
            if time.monotonic() > deadline:
                self._differs(f"{what}: not within {timeout_s} s")
                return
            time.sleep(0.05)

    def run(self, cases: Mapping[str, Callable[[], None]]) -> None:
        """Run the functions of some letters; one that raises does not keep the next ones from running."""
        for letter, case in cases.items():
            with self._of(letter):
                case()

    async def run_async(self, cases: Mapping[str, Callable[[], Awaitable[None]]]) -> None:
        """Run coroutines likewise."""
        for letter, case in cases.items():
            with self._of(letter):
                await case()

    @contextmanager
    def _of(self, letter: str) -> Iterator[None]:
        self._letter = letter
        try:
            yield
        except Exception:  # noqa: BLE001 - whatever a client raises is told
            self._differs(traceback.format_exc())

    def tell(self, **more: object) -> None:
        """Print what came of it, as one line of JSON."""
        letters = {*self._counts, *self._different}
        told: dict[str, Any] = {
            one: {"compared": self._counts[one], "different": self._different.get(one, [])} for one in sorted(letters)
        }
        print(json.dumps(told | more))

    def _differs(self, text: str) -> None:
        self._different.setdefault(self._letter, []).append(text[-1500:])
