"""Faults of whole hosts, with clients at each router: what they cost those whose router lives."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from tests.chaos.cluster import MODELS, PAIR, SCALED, SOLE, ClusterSite, Member
from tests.support.clients import wait_until

HEAL_TIMEOUT_S = 240.0
"""Ray on the head starts anew, and then what ran there: 20 s on an idle machine of two CPUs, 70 s and more on a busy one."""
CUT_S = 20.0
DISTURBED_S = 1.0
"""A request that takes so long was held up by the fault."""

SCALING_CLIENTS = 8
STEADY = (*SOLE, PAIR)


@dataclass(frozen=True)
class HostFault:
    """Something that happens to a host; `strike` does it to one of a site and gives it, and what tells that it is over."""

    name: str
    strike: Callable[[ClusterSite], tuple[Member, Callable[[], bool]]]


@dataclass(frozen=True)
class HostOutcome:
    """What a fault did to the clients of the routers on other hosts."""

    fault: HostFault
    requests: int
    failures: tuple[str, ...]
    answered_again_s: float
    whole_again_s: float
    fetched_twice: tuple[tuple[str, str], ...]

    @property
    def is_within_goal(self) -> bool:
        return not self.failures and not self.fetched_twice


def inflict_on_host(fault: HostFault, site: ClusterSite) -> HostOutcome:
    """Do it under load, and wait until all is well again."""
    site.wait_until_whole(f"before: {fault.name}", HEAL_TIMEOUT_S)
    with ExitStack() as clients:
        loads = {one: clients.enter_context(site.load(one, list(STEADY))) for one in site.with_router}
        wait_until(lambda: all(load.answered_since(0) == set(STEADY) for load in loads.values()), "requests flow")
        began_s = time.monotonic()
        victim, is_over = fault.strike(site)
        spared = [load for member, load in loads.items() if member is not victim]
        site.wait_until_whole(f"after: {fault.name}", HEAL_TIMEOUT_S, is_over)
        whole_s = time.monotonic()
        wait_until(
            lambda: all(load.answered_since(whole_s) == set(STEADY) for load in spared), f"answers after: {fault.name}"
        )
    seen = [one for load in spared for one in load.requests if one.ended_s >= began_s]
    held_up = [one.ended_s for one in seen if one.failure or one.ended_s - one.began_s > DISTURBED_S]
    failures = tuple(f"{one.model} after {one.began_s - began_s:.1f} s: {one.failure}" for one in seen if one.failure)
    again_s = max(held_up, default=began_s) - began_s
    return HostOutcome(fault, len(seen), failures, again_s, whole_s - began_s, tuple(site.fetched_twice()))


def _restarted(member: Member) -> Callable[[], bool]:
    before = member.starts
    return lambda: member.starts > before


def _with_most(site: ClusterSite) -> Member:
    """Return the host, beside the head, whose loss costs most."""
    return max(site.members[1:], key=lambda one: sum(map(one.replicas, MODELS)))


def _lost(site: ClusterSite) -> tuple[Member, Callable[[], bool]]:
    """Take a host's power, and give it back when everything answers without it."""
    victim = _with_most(site)
    is_back = _restarted(victim)
    victim.host.power_off()
    others = [one for one in site.members if one is not victim]
    wait_until(
        lambda: all(any(map(lambda one, model=model: one.replicas(model), others)) for model in STEADY),
        "what ran on the lost host runs elsewhere",
    )
    victim.host.power_on()
    victim.start()
    return victim, is_back


def _cut_off(site: ClusterSite) -> tuple[Member, Callable[[], bool]]:
    """Cut a host off; Ray there ends when it hears that it counts as dead, and starts anew."""
    victim = _with_most(site)
    is_back = _restarted(victim)
    site.cut(victim)
    threading.Timer(CUT_S, site.join, [victim]).start()
    return victim, is_back


def _control_store(site: ClusterSite) -> tuple[Member, Callable[[], bool]]:
    """Kill it; the head's Ray ends with it and starts anew, from what the control store has kept."""
    head = site.members[0]
    is_back = _restarted(head)
    os.kill(head.control_store(), signal.SIGKILL)
    return head, is_back


HOST_FAULTS = (
    HostFault("a host loses power, and comes back", _lost),
    HostFault(f"a host is cut off for {CUT_S:.0f} s", _cut_off),
    HostFault("the head loses its control store, kill -9", _control_store),
)


@contextmanager
def scaled_up(site: ClusterSite) -> Iterator[list[str]]:
    """Clients that make Serve scale a model to a replica on each of the hosts; gives the failures, when they end.

    A router that replaces a lost one may run and not listen yet: what counts begins when each has answered.
    """
    failures: list[str] = []
    with ExitStack() as clients:
        loads = [clients.enter_context(site.load(one, [SCALED] * SCALING_CLIENTS)) for one in site.with_router]
        wait_until(lambda: all(load.answered_since(0) for load in loads), "every router answers", HEAL_TIMEOUT_S)
        began_s = time.monotonic()
        yield failures
    failures += [one.failure for load in loads for one in load.requests if one.failure and one.began_s >= began_s]
