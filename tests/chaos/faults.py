"""The faults, each with what must be true afterwards and how many requests it may cost."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from tests.chaos.site import Site
from tests.support.clients import ClosedLoop, wait_until

CLIENTS = 4
HEAL_TIMEOUT_S = 120.0
WARM_REQUESTS = 200


@dataclass(frozen=True)
class Fault:
    """Something that goes wrong.

    `strike` does it and gives what tells whether it is over. `most_failed` is how many requests it may cost; None where
    what carries the requests is itself what is hit, so that the time counts.
    """

    name: str
    model: str
    strike: Callable[[Site], Callable[[], bool]]
    most_failed: int | None = 0


@dataclass(frozen=True)
class Outcome:
    """What a fault did."""

    fault: Fault
    requests: int
    failures: tuple[str, ...]
    full_service_s: float

    @property
    def is_within_goal(self) -> bool:
        most = self.fault.most_failed
        return most is None or len(self.failures) <= most


def inflict(fault: Fault, site: Site) -> Outcome:
    """Do a fault under load and wait until all is well again."""
    with ClosedLoop(site.rest_port, f"/v1/models/{fault.model}:predict", {"instances": [2.0]}, CLIENTS) as load:
        wait_until(lambda: load.count > WARM_REQUESTS, "requests flow")
        began_s = time.monotonic()
        is_over = fault.strike(site)
        wait_until(lambda: is_over() and site.is_whole(), f"full service after: {fault.name}", HEAL_TIMEOUT_S)
        took_s = time.monotonic() - began_s
        seen = load.count
        wait_until(lambda: load.count > seen + WARM_REQUESTS, "requests flow afterwards")
    return Outcome(fault, load.count + len(load.failures), tuple(load.failures), took_s)


def _killed(site: Site, find: Callable[[], frozenset[int]]) -> Callable[[], bool]:
    wait_until(lambda: bool(find()), "there is something to kill")
    victim = site.kill(find())
    return lambda: bool(find()) and victim not in find()


def _replica_of_two(site: Site) -> Callable[[], bool]:
    return _killed(site, lambda: site.replicas("two:1"))


def _only_replica(site: Site) -> Callable[[], bool]:
    return _killed(site, lambda: site.replicas("one:1"))


def _router(site: Site) -> Callable[[], bool]:
    return _killed(site, lambda: site.replicas("router", "Router"))


def _watcher(site: Site) -> Callable[[], bool]:
    is_back = _killed(site, lambda: site.replicas("router", "Watcher"))
    number = site.roll()
    return lambda: is_back() and site.serves(number)


def _controller(site: Site) -> Callable[[], bool]:
    is_back = _killed(site, lambda: site.pids("ray::ServeController"))
    number = site.roll()
    return lambda: is_back() and site.serves(number)


def _storage(site: Site) -> Callable[[], bool]:
    """Take the base path away, wait until that is noticed, bring it back with a new version in it."""
    site.rolled.rename(site.stored)
    client = site.client()
    wait_until(lambda: b"Could not find base path" in client.get("/v1/models").body, "the loss is told")
    client.close()
    site.stored.rename(site.rolled)
    number = site.roll()
    return lambda: site.serves(number)


def _half_copied(site: Site) -> Callable[[], bool]:
    """A version that never becomes whole, then a good one."""
    (site.rolled / str(site.next_version)).mkdir()
    (site.rolled / str(site.next_version) / "saved_model.pb").write_bytes(b"half of a")
    site.next_version += 1
    number = site.roll()
    return lambda: site.serves(number)


FAULTS = (
    Fault("kill -9 one of two model replicas", "two", _replica_of_two, most_failed=CLIENTS),
    Fault("kill -9 the watcher, and a new version", "rolled", _watcher),
    Fault("kill -9 the Serve controller, and a new version", "rolled", _controller),
    Fault("storage away and back with a new version", "rolled", _storage),
    Fault("a half-copied version, then a good one", "rolled", _half_copied),
    Fault("kill -9 the only replica of a version", "one", _only_replica, most_failed=None),
    Fault("kill -9 the only router", "two", _router, most_failed=None),
)

SHORT = FAULTS[:4]
