"""The faults, each with what must be true afterwards and how many requests it may cost."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from tests.chaos.site import HostedSite, ServeRunSite, Site
from tests.chaos.store import Store
from tests.support.clients import ClosedLoop, wait_until

CLIENTS = 4
HEAL_TIMEOUT_S = 240.0
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
    left_over: tuple[str, ...] = ()

    @property
    def is_within_goal(self) -> bool:
        most = self.fault.most_failed
        return not self.left_over and (most is None or len(self.failures) <= most)


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
    failures = tuple(load.failures)
    return Outcome(fault, load.count + len(failures), failures, took_s, tuple(site.left_over()))


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


def _store_lost(site: Site) -> Callable[[], bool]:
    """Lose the remote store, kill a replica that must come back from the cache, restore it with a new version."""
    store = _store(site)
    store.lose()
    wait_until(lambda: site.says("/v1/models", b"UNAVAILABLE"), "the loss is told")
    is_back = _killed(site, lambda: site.pids("ray::ServeReplica:fetched:"))
    wait_until(lambda: is_back() and site.is_whole(), "the replica came back from the cache", HEAL_TIMEOUT_S)
    store.restore()
    number = site.upload()
    return lambda: site.serves(number, "fetched")


def _disk_full(site: Site) -> Callable[[], bool]:
    """Fill the disk of the cache, bring a new version, wait until it is told, make room."""
    store = _store(site)
    store.fill_disk()
    number = site.upload()
    wait_until(lambda: site.says("/status.json", b"RESOURCE_EXHAUSTED"), "the full disk is told")
    store.empty_disk()
    return lambda: site.serves(number, "fetched")


def _serve_proxy(site: Site) -> Callable[[], bool]:
    assert isinstance(site, ServeRunSite)
    is_back = _killed(site, lambda: site.pids("ray::ProxyActor"))
    return lambda: is_back() and site.proxy_answers()


def _version_host(site: Site) -> Callable[[], bool]:
    """Kill the host, and bring a version that only its successor can load."""
    assert isinstance(site, HostedSite)
    is_back = _killed(site, site.host)
    number = site.roll()
    return lambda: is_back() and site.serves(number)


def _what_forks(site: Site) -> Callable[[], bool]:
    """Kill the process that forks, and bring a version that only its successor can fork."""
    assert isinstance(site, HostedSite)
    is_back = _killed(site, site.forking)
    number = site.roll()
    return lambda: is_back() and site.serves(number)


def _store(site: Site) -> Store:
    assert site.store is not None
    return site.store


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

REMOTE = (
    Fault("remote store away, kill -9 a replica, and back", "fetched", _store_lost, most_failed=CLIENTS),
)  # fmt: skip

OWN_DISK = (Fault("the disk of the cache is full", "fetched", _disk_full),)

SERVE_RUN = (Fault("kill -9 Serve's own proxy", "two", _serve_proxy),)

HOSTED_SHORT = (
    Fault("kill -9 a hosted version", "one", _only_replica, most_failed=CLIENTS),
    Fault("kill -9 the host of versions, and a new version", "one", _version_host),
    Fault("kill -9 what forks versions, and a new version", "one", _what_forks),
)
HOSTED = (*(one for one in FAULTS if one.strike not in (_replica_of_two, _only_replica)), *HOSTED_SHORT)
