"""Starts Ray again when it does not come up, as it sometimes does not on a busy machine."""

from __future__ import annotations

from collections.abc import Callable

ATTEMPTS = 3


def again(start: Callable[[], object], clear_away: Callable[[], object]) -> None:
    """Start something; what fails is cleared away and tried again, twice."""
    for _ in range(ATTEMPTS - 1):
        try:
            start()
        except Exception as error:  # noqa: BLE001 - Ray has no one error for this
            print(f"not up, and started again: {error}")
            clear_away()
        else:
            return
    start()
