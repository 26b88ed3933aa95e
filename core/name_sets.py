"""Names as error texts print them: sorted, separated by commas."""

from __future__ import annotations

from collections.abc import Iterable


def listed(names: Iterable[str]) -> str:
    """Print names as `a,b`."""
    return ",".join(sorted(names))


def braced(names: Iterable[str]) -> str:
    """Print names as `{a,b}`."""
    return f"{{{listed(names)}}}"
