"""A version policy for numbers such as 20317: major version 2, and 0317 within it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class NewestOfEachMajor:
    """Serve the newest version of each major number, and of them those with the highest `majors` numbers."""

    digits: int = 4
    majors: int = 2

    def __post_init__(self) -> None:
        if self.digits < 1 or self.majors < 1:
            raise ValueError("digits and majors are at least 1")

    def select(self, found: frozenset[int]) -> frozenset[int]:
        newest: dict[int, int] = {}
        for version in sorted(found):
            newest[version // 10**self.digits] = version
        return frozenset(newest[major] for major in sorted(newest)[-self.majors :])
