"""Shares of traffic: the settings that an operator fixes, and the division that a routing table carries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple, TypeAlias

from core.delivery.output_counts import Binning

WHOLE: Final = 10_000
"""All requests, in basis points."""

Weights: TypeAlias = tuple[tuple[int, int], ...]
"""Versions with their shares in basis points, which add up to `WHOLE`; the others diverge from the first one."""


@dataclass(frozen=True, slots=True)
class MirrorSettings:
    """Copies of requests to another version, whose answers nobody gets.

    `version` is a version number or a label, as text; `share` is in basis points of the requests without version and
    label; at most `max_in_flight` copies are open for each router.
    """

    version: str
    share: int = WHOLE
    max_in_flight: int = 8


class Tolerance(NamedTuple):
    """How far an element may be from stable's: by `atol + rtol * |stable's|`."""

    rtol: float = 1e-3
    atol: float = 1e-5


DEFAULT_TOLERANCE: Final = Tolerance()


@dataclass(frozen=True, slots=True)
class MirrorOrder:
    """A mirror as a table carries it: the version is a number, that of stable itself to see what differs by chance.

    `tolerances` are by output; others have that of the empty name, or the default one.
    """

    version: int
    share: int
    max_in_flight: int = 8
    tolerances: Mapping[str, Tolerance] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Division:
    """How a table divides the requests for one model that name neither a version nor a label.

    `epoch` rises with every change of shares or of the mirror, so that counts of different shares are kept apart. One
    weight only says which version is stable although a higher number answers. `salt` and `header` (lower case) make
    the choice sticky; an empty header makes it random. `labels` divides requests by some labels. `is_counted` says that
    routers count for each version (a single weight without mirror needs no counts). `observed` are the outputs whose
    values replicas of all its versions count, with their bins.
    """

    weights: Weights
    epoch: int = 0
    salt: str = ""
    header: str = ""
    mirror: MirrorOrder | None = None
    labels: Mapping[str, Weights] = field(default_factory=dict)
    observed: Mapping[str, Binning] = field(default_factory=dict)

    @property
    def stable(self) -> int:
        """The version that others diverge from."""
        return self.weights[0][0]

    @property
    def versions(self) -> frozenset[int]:
        """The versions that get requests, also those by a label."""
        divided = (self.weights, *self.labels.values())
        return frozenset(version for weights in divided for version, _ in weights)

    @property
    def is_counted(self) -> bool:
        """Whether routers count requests for each version."""
        return len(self.weights) > 1 or self.mirror is not None or bool(self.labels)


class ArmKey(NamedTuple):
    """What the counts of routers are kept for: a version of a model, under one division of its requests."""

    model: str
    epoch: int
    version: int
