"""Running likelihood ratios, each a mixture over some alternatives: evidence that may be looked at after every request.

A test is a tuple of logarithms, one for each alternative; an empty one has seen nothing. Its evidence E is the mean of
their exponentials. If the hypothesis holds, E ever reaches 1/alpha with probability alpha at most (Ville's inequality),
whenever and however often one looks, and also if shares change from block to block.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, NamedTuple, TypeAlias

Sums: TypeAlias = tuple[float, ...]

WORSE: Final = (1.25, 1.5, 2.0, 3.0, 5.0, 8.0, 13.0, 25.0, 50.0, 100.0, 300.0)
"""Alternatives to a ratio of two rates: so many times the ratio that is allowed."""

BETTER: Final = (0.02, 0.1, 0.25, 0.5, 0.7, 0.85)
"""Alternatives to a ratio or a limit that show that a rate is below it."""

HIGHER: Final = (1.25, 1.5, 2.0, 3.0, 5.0, 10.0, 20.0)
"""Alternatives to a limit of a proportion."""

HIGHEST: Final = 0.99
"""No alternative to a limit is higher."""

GREATEST_LOG: Final = 690.0
"""Evidence stays a number that can be written."""


class ArmEvents(NamedTuple):
    """Events of both arms in some requests, of which all arms had their shares in the same time."""

    stable_events: int = 0
    stable_requests: int = 0
    canary_events: int = 0
    canary_requests: int = 0

    def plus(self, other: ArmEvents) -> ArmEvents:
        """Return the sums."""
        return ArmEvents(*(one + two for one, two in zip(self, other, strict=True)))

    @property
    def without_events(self) -> ArmEvents:
        """The requests alone."""
        return ArmEvents(0, self.stable_requests, 0, self.canary_requests)

    @property
    def swapped(self) -> ArmEvents:
        """The same with the arms exchanged."""
        return ArmEvents(self.canary_events, self.canary_requests, self.stable_events, self.stable_requests)


def with_block(sums: Sums, block: ArmEvents, ratio: float, alternatives: Sequence[float]) -> Sums:
    """Return a test of: the canary's rate of events is at most (with BETTER: at least) so many times that of stable.

    It looks at events alone: of those of a block, the canary has the share that follows from its share of the requests
    and from the ratio, so what befalls both arms proves nothing. With n requests, rates p and odds o = ratio n_c / n_s,
    a block multiplies the evidence for an alternative f by (1 + p_c (a - 1))^n_c (1 + p_s (b - 1))^n_s on average, with
    a = f (1 + o) / (1 + f o) and b = (1 + o) / (1 + f o): at most exp((f - 1) n_c (p_c - ratio p_s) / (1 + f o)), which
    is at most 1 where the hypothesis holds. A block in which an arm had no request proves nothing.
    """
    canary, both = block.canary_events, block.canary_events + block.stable_events
    if not (both and block.canary_requests and block.stable_requests):
        return sums
    odds = ratio * block.canary_requests / block.stable_requests
    return tuple(
        before + canary * math.log(factor) + both * math.log((1 + odds) / (1 + factor * odds))
        for before, factor in zip(sums or (0.0,) * len(alternatives), alternatives, strict=True)
    )


def with_trials(sums: Sums, events: int, trials: int, limit: float, alternatives: Sequence[float]) -> Sums:
    """Return a test of the hypothesis that a proportion is at most (BETTER: at least) a limit between 0 and 1.

    Alternatives above `HIGHEST` become that; a limit above it cannot be exceeded provably.
    """
    rates = [max(min(HIGHEST, limit * factor), limit) if factor > 1 else limit * factor for factor in alternatives]
    return tuple(
        before + events * math.log(rate / limit) + (trials - events) * math.log((1 - rate) / (1 - limit))
        for before, rate in zip(sums or (0.0,) * len(rates), rates, strict=True)
    )


def log_evidence(sums: Sums) -> float:
    """Return the natural logarithm of a test's evidence, 0 for one that has seen nothing."""
    if not sums:
        return 0.0
    most = max(sums)
    return most + math.log(math.fsum(math.exp(one - most) for one in sums) / len(sums))


def as_evidence(logarithm: float) -> float:
    """Return evidence of its logarithm, finite and above 0 in any case."""
    return math.exp(max(-GREATEST_LOG, min(GREATEST_LOG, logarithm)))


def missing_events(sums: Sums, share: ArmEvents, ratio: float, alternatives: Sequence[float], log_limit: float) -> int:
    """Return how many more events of the canary alone would bring the evidence to its limit; `share` has both requests.

    0 where an arm has no request, and where the limit is reached.
    """
    if not (share.canary_requests and share.stable_requests):
        return 0

    def suffice(events: int) -> bool:
        block = ArmEvents(0, share.stable_requests, events, share.canary_requests)
        return log_evidence(with_block(sums, block, ratio, alternatives)) >= log_limit

    if suffice(0):
        return 0
    least, most = 0, 1
    while not suffice(most):
        least, most = most, 2 * most
    while most - least > 1:
        middle = (least + most) // 2
        least, most = (least, middle) if suffice(middle) else (middle, most)
    return most
