"""The order of loading and unloading: one snapshot of a servable stream gives at most one action."""

from __future__ import annotations

import enum
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from core.config.model_config import Rollout
from core.versions.lifecycle import State


@dataclass(frozen=True, slots=True)
class VersionSnapshot:
    """One version of a stream, reduced to what decides the order of loads and unloads: a lower rank loads first."""

    version: int
    state: State
    aspired: bool
    rank: int = 0


class RolloutVerb(enum.Enum):
    """What to do with a version."""

    LOAD = "load"
    UNLOAD = "unload"


@dataclass(frozen=True, slots=True)
class Action:
    """The next step of a stream."""

    verb: RolloutVerb
    version: int


ESTABLISHED = "stable"
"""The label that by custom names the version with most of the traffic; it decides nothing but the order of loads."""


def load_rank(version: int, labels: Mapping[str, int], aspired: Collection[int]) -> int:
    """Return the place of a version in the order in which a model's versions are loaded; the lowest is first.

    What serves traffic comes first: the version that the label `stable` names, then those of other labels. As soon as
    any answers, so do requests without a version. Then follow the versions below a declared stable one, which callers
    may still name, and without one the newest; those that are left may wait.
    """
    established = labels.get(ESTABLISHED)
    if version == established:
        return 0
    if version in labels.values():
        return 1
    is_next = version == max(aspired, default=version) if established is None else version < established
    return 2 if is_next else 3


def _first_to_load(stream: Iterable[VersionSnapshot]) -> Action | None:
    """Return the load of the lowest rank; of one rank, the newest (TensorFlow Serving's order)."""
    fresh = [(one.rank, -one.version) for one in stream if one.aspired and one.state is State.START]
    return Action(RolloutVerb.LOAD, -min(fresh)[1]) if fresh else None


def preserve_availability(stream: Sequence[VersionSnapshot]) -> Action | None:
    """Load before unloading, so that an answering version never disappears without a successor.

    Source of the rule: TensorFlow Serving, AvailabilityPreservingPolicy. A stream with several retired versions keeps
    only the newest of them while its successor loads.
    """
    retired = [one.version for one in stream if not one.aspired and one.state is State.AVAILABLE]
    aspired = [one for one in stream if one.aspired]
    has_successor = any(one.state is State.AVAILABLE for one in aspired)
    if retired and (not aspired or has_successor or len(retired) > 1):
        return Action(RolloutVerb.UNLOAD, min(retired))
    return _first_to_load(aspired)


def preserve_resources(stream: Sequence[VersionSnapshot]) -> Action | None:
    """Unload before loading, for versions of which only one fits.

    Source of the rule: TensorFlow Serving, ResourcePreservingPolicy.
    """
    for one in stream:
        if not one.aspired and one.state is State.AVAILABLE:
            return Action(RolloutVerb.UNLOAD, one.version)
    if any(not one.aspired and one.state not in {State.START, State.END} for one in stream):
        return None
    return _first_to_load(stream)


POLICIES: Mapping[Rollout, Callable[[Sequence[VersionSnapshot]], Action | None]] = MappingProxyType(
    {
        Rollout.AVAILABILITY_PRESERVING: preserve_availability,
        Rollout.RESOURCE_PRESERVING: preserve_resources,
    }
)


def next_action(rollout: Rollout, stream: Sequence[VersionSnapshot]) -> Action | None:
    """Return the next step of one servable stream, or None when there is nothing to do now."""
    return POLICIES[rollout](stream)
