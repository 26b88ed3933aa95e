"""What goes wrong while a model's next version is released: every fault in every state of a rollout, under load.

A cell of the matrix brings a version, waits for a state, strikes, and follows the rollout to its end. No request may
fail but those that were in flight on what was killed, and the rollout ends as it would have without the fault.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from tests.chaos.rollout_site import MODEL, REACHED_WITHIN_S, RolloutSite
from tests.support.clients import wait_until

CLIENTS = 16
WARM_REQUESTS = 100
AFTERWARDS = 200
HEALED_WITHIN_S = 120.0

Over = Callable[[], bool]


@dataclass(frozen=True, slots=True)
class Arms:
    """The versions of the rollout that is struck."""

    stable: int
    canary: int


@dataclass(frozen=True, slots=True)
class RolloutState:
    """A state of a rollout: how it is reached, what is done to leave it, and which version is stable at the end."""

    name: str
    reach: Callable[[RolloutSite, Arms], None]
    leave: Callable[[RolloutSite, Arms], None]
    is_promoted: bool = True


@dataclass(frozen=True, slots=True)
class RolloutFault:
    """Something that goes wrong; `strike` gives what tells whether it is over.

    `most_each`: how many requests of one client it may cost, those that were in flight on what was killed.
    """

    name: str
    strike: Callable[[RolloutSite, Arms, RolloutState], Over]
    most_each: int = 0
    is_release: bool = False


class RolloutCell(NamedTuple):
    """A cell of the matrix."""

    state: RolloutState
    fault: RolloutFault

    def __str__(self) -> str:
        return f"{self.state.name}: {self.fault.name}"


@dataclass(frozen=True, slots=True)
class RolloutOutcome:
    """What a fault did in a state."""

    cell: RolloutCell
    requests: int
    failures: tuple[str, ...]
    most_of_one: int
    wrong: tuple[str, ...]
    healed_s: float
    ended: str
    is_as_planned: bool

    @property
    def is_within_goal(self) -> bool:
        return self.is_as_planned and not self.wrong and self.most_of_one <= self.cell.fault.most_each


def inflict_on_rollout(cell: RolloutCell, site: RolloutSite) -> RolloutOutcome:
    """Release a version, strike in a state, and wait for the end of the rollout."""
    state, fault = cell
    with site.load(CLIENTS) as load:
        wait_until(lambda: load.count > WARM_REQUESTS, "requests flow")
        before = int(site.delivery()["stable"])
        arms = Arms(before, site.release())
        state.reach(site, arms)
        began_s = time.monotonic()
        is_over = fault.strike(site, arms, state)
        wait_until(is_over, f"healed: {cell}", HEALED_WITHIN_S)
        healed_s = time.monotonic() - began_s
        state.leave(site, arms)
        wanted = site.next_version - 1 if fault.is_release else arms.canary if state.is_promoted else arms.stable
        is_as_planned = _has_ended(site, wanted)
        site.restore_versions()
        seen, answered = load.count, load.versions
        wait_until(lambda: load.count > seen + AFTERWARDS, "requests flow afterwards")
        others = [one for one, count in load.versions.items() if count > answered.get(one, 0) and one != wanted]
        ended = site.delivery()
    told = f"{ended.get('phase')}, stable {ended.get('stable')}"
    told += "" if is_as_planned else f", not {wanted}: {ended.get('reason')} {ended.get('happenings', [])[-4:]}"
    wrong = (*load.wrong, *(f"version {one} answers after the end" for one in others if is_as_planned))
    return RolloutOutcome(
        cell,
        load.count + len(load.failures),
        tuple(load.failures),
        load.most_of_one,
        wrong,
        healed_s,
        told,
        is_as_planned,
    )


def _has_ended(site: RolloutSite, wanted: int) -> bool:
    """Whether the rollout ends, in time, with the version that is wanted as stable."""

    def is_so() -> bool:
        found = site.delivery()
        assert found.get("pause_cause") not in {"inconclusive", "failed"}, found.get("reason")
        return found.get("phase") in {"promoted", "idle"} and found.get("stable") == str(wanted)

    try:
        wait_until(is_so, f"version {wanted} is stable", REACHED_WITHIN_S)
    except AssertionError:
        return False
    return True


def _phase_is(site: RolloutSite, arms: Arms, phase: str, step: int | None = None) -> bool:
    found = site.delivery()
    if found.get("phase") == "paused":
        raise AssertionError(f"paused: {found.get('reason')}")
    version = found.get("stable" if phase == "promoted" else "canary")
    return found.get("phase") == phase and version == str(arms.canary) and step in {None, found.get("step")}


def _at_step(step: int, site: RolloutSite, arms: Arms) -> None:
    wait_until(lambda: _phase_is(site, arms, "step", step), f"step {step}", REACHED_WITHIN_S)


def _when_promoted(site: RolloutSite, arms: Arms) -> None:
    wait_until(lambda: _phase_is(site, arms, "promoted"), "promoted", REACHED_WITHIN_S)


def _paused(site: RolloutSite, arms: Arms) -> None:
    _at_step(1, site, arms)
    site.order("pause", lambda: site.delivery().get("phase") == "paused")


def _resumed(site: RolloutSite, arms: Arms) -> None:
    """It is still paused, by the same hand, and goes on when it is told to."""
    found = site.delivery()
    assert (found["phase"], found["pause_cause"], found["canary"]) == ("paused", "order", str(arms.canary)), found
    site.order("resume", lambda: site.delivery().get("phase") != "paused")


def _rejects(site: RolloutSite, arms: Arms) -> bool:
    return any(one["version"] == str(arms.canary) for one in site.delivery().get("rejected", ()))


def _rolling_back(site: RolloutSite, arms: Arms) -> None:
    """Abort in the weighted step; a strike follows as soon as the order has been taken."""
    _at_step(1, site, arms)
    site.order("abort", lambda: site.delivery().get("phase") == "rolling_back" or _rejects(site, arms))


def _rejected(site: RolloutSite, arms: Arms) -> None:
    wait_until(lambda: _rejects(site, arms), f"version {arms.canary} is rejected", REACHED_WITHIN_S)


def _nothing(site: RolloutSite, arms: Arms) -> None:
    """The rollout leaves the state by itself."""


STATES = (
    RolloutState("mirror step", partial(_at_step, 0), _nothing),
    RolloutState("weighted step", partial(_at_step, 1), _nothing),
    RolloutState("paused", _paused, _resumed),
    RolloutState("promoted window", _when_promoted, _nothing),
    RolloutState("rolling back", _rolling_back, _rejected, is_promoted=False),
)


def _killed(site: RolloutSite, find: Callable[[], frozenset[int]], *, comes_back: bool = True) -> Over:
    """Kill one process; it is over when as many run as before."""
    before = find()
    victim = site.kill(before)

    def is_over() -> bool:
        found = find()
        return victim not in found and (not comes_back or len(found) >= len(before))

    return is_over


def _router(site: RolloutSite, _: Arms, __: RolloutState) -> Over:
    return _killed(site, lambda: site.replicas("router", "Router"))


def _watcher(site: RolloutSite, _: Arms, __: RolloutState) -> Over:
    return _killed(site, lambda: site.replicas("router", "Watcher"))


def _controller(site: RolloutSite, _: Arms, __: RolloutState) -> Over:
    return _killed(site, lambda: site.pids("ray::ServeController"))


def _canary_replica(site: RolloutSite, arms: Arms, state: RolloutState) -> Over:
    """Of one that is being rolled back, no replica needs to come back, and it may have gone before."""
    if not site.version_pids(arms.canary):
        return lambda: True
    return _killed(site, lambda: site.version_pids(arms.canary), comes_back=state.is_promoted)


def _stable_replica(site: RolloutSite, arms: Arms, _: RolloutState) -> Over:
    return _killed(site, lambda: site.version_pids(arms.stable))


def _directory(site: RolloutSite, arms: Arms, state: RolloutState) -> Over:
    """Delete the directory of the version that is stable now; it is over when the watcher has had time to see it."""
    site.lose_version(arms.canary if state.name == "promoted window" else arms.stable)
    seen_s = time.monotonic() + 3.0
    return lambda: time.monotonic() > seen_s


def _settings(site: RolloutSite, _: Arms, __: RolloutState) -> Over:
    site.reload()
    return site.is_reloaded


def _second_release(site: RolloutSite, _: Arms, __: RolloutState) -> Over:
    number = site.release()
    return lambda: number in _versions(site)


def _versions(site: RolloutSite) -> set[int]:
    client = site.client()
    try:
        return set(client.states(MODEL)) | {int(site.delivery().get("queued") or 0)}
    finally:
        client.close()


ROLLOUT_FAULTS = (
    RolloutFault("kill -9 a router", _router, most_each=1),
    RolloutFault("kill -9 the watcher", _watcher),
    RolloutFault("kill -9 a canary replica", _canary_replica, most_each=1),
    RolloutFault("kill -9 a stable replica", _stable_replica, most_each=1),
    RolloutFault("kill -9 the Serve controller", _controller),
    RolloutFault("delete the directory of stable", _directory),
    RolloutFault("reload the configuration", _settings),
    RolloutFault("a second release", _second_release, is_release=True),
)

ROLLOUT_CELLS = tuple(RolloutCell(state, fault) for state in STATES for fault in ROLLOUT_FAULTS)

SHORT_CELLS = tuple(RolloutCell(STATES[state], ROLLOUT_FAULTS[fault]) for state, fault in ((0, 1), (1, 0), (4, 3)))
"""The watcher in a mirror step, a router at half of the requests, and a replica of stable in a rollback."""
