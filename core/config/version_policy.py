"""Version policies: which of the versions found should be served."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Latest:
    """Serve the highest `count` version numbers; a count of 0 counts as 1 (TensorFlow Serving, version policy)."""

    count: int = 1

    def select(self, found: frozenset[int]) -> frozenset[int]:
        """Return the aspired versions among those found."""
        return frozenset(sorted(found)[-max(self.count, 1) :])


@dataclass(frozen=True, slots=True)
class All:
    """Serve every version found."""

    def select(self, found: frozenset[int]) -> frozenset[int]:
        """Return the aspired versions among those found."""
        return found


@dataclass(frozen=True, slots=True)
class Specific:
    """Serve the listed versions as far as they exist; an empty list serves nothing."""

    versions: frozenset[int]

    def select(self, found: frozenset[int]) -> frozenset[int]:
        """Return the aspired versions among those found."""
        return found & self.versions


VersionPolicy = Latest | All | Specific
"""One of the three policies; all have `select`."""
