"""Prints what each fault costs: requests, failed ones, time to full service. Ends with 1 if a goal is missed."""

from __future__ import annotations

import itertools
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path

import psutil

from tests.chaos.cluster import ClusterSite, running_cluster
from tests.chaos.faults import FAULTS, HOSTED, HOSTED_SHORT, OWN_DISK, REMOTE, SERVE_RUN, SHORT, Fault, Outcome, inflict
from tests.chaos.host_faults import HOST_FAULTS, HostFault, inflict_on_host
from tests.chaos.rollout_table import shown_releases, shown_rollout_faults
from tests.chaos.sanitizers import SANITIZERS, SOURCES, sanitized_run, sanitized_tests
from tests.chaos.site import LEAVE_TIMEOUT_S, HostedSite, ServeRunSite, Site, running
from tests.chaos.store import remote_store
from tests.conftest import saved_models_folder
from tests.support.clients import ClosedLoop, wait_until
from tests.support.network_hosts import why_not_permitted

ANSWERED_AGAIN_WITHIN_S = 15.0

SANITIZED_ROUNDS = 50_000
ROW = "{:<50} {:>9} {:>7} {:>18} {:>15}   {}"


def main(arguments: list[str]) -> int:
    """Run all faults, or with `--short` those that CI runs.

    `--rollouts` and `--releases` run only those of rollouts, with parts of the names of cells to keep to.
    """
    for flag, shown in (("--rollouts", shown_rollout_faults), ("--releases", shown_releases)):
        if flag in arguments:
            return 0 if all(shown([one for one in arguments if one != flag])) else 1
    is_sound = _sanitized()
    print(ROW.format("fault", "requests", "failed", "full service after", "processes left", "goal"), flush=True)
    results = _short() if "--short" in arguments else [*_long(), *_hosted(HOSTED), *_with_serve_run(), *_with_hosts()]
    if "--short" not in arguments:
        results += [*shown_rollout_faults(), *shown_releases()]
    return 0 if is_sound and all(results) else 1


def _sanitized() -> bool:
    """Whether the compiled parts do nothing wrong where a sanitizer would see it."""
    results = []
    for source, (what, sanitizer) in itertools.product(SOURCES, SANITIZERS.items()):
        with tempfile.TemporaryDirectory() as folder:
            done = sanitized_run(Path(folder), source, sanitizer, SANITIZED_ROUNDS)
        results.append(done.returncode == 0)
        print(f"{source.name}, {what}: {(done.stderr or done.stdout).strip()}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        done = sanitized_tests(Path(folder))
    print(f"the same from Python, with TensorFlow: {(done.stdout.splitlines() or [done.stderr])[-1]}", flush=True)
    return done.returncode == 0 and all(results)


def _short() -> list[bool]:
    with tempfile.TemporaryDirectory() as folder, running(Site(saved_models_folder(), Path(folder))) as site:
        own = [*(_shown(fault, site) for fault in SHORT), _stopped(site)]
    return [*own, *_hosted(HOSTED_SHORT)]


def _long() -> list[bool]:
    with (
        tempfile.TemporaryDirectory() as folder,
        remote_store(Path(folder)) as store,
        running(Site(saved_models_folder(), Path(folder), store)) as site,
    ):
        if not store.has_own_disk:
            print("    a full disk is left out: this user may not mount one")
        faults = [*FAULTS, *REMOTE, *(OWN_DISK if store.has_own_disk else ())]
        return [*(_shown(fault, site) for fault in faults), _stopped(site)]


def _hosted(faults: Sequence[Fault]) -> list[bool]:
    print("    the same with hosted versions", flush=True)
    with tempfile.TemporaryDirectory() as folder, running(HostedSite(saved_models_folder(), Path(folder))) as site:
        return [*(_shown(fault, site) for fault in faults), _stopped(site)]


def _with_serve_run() -> list[bool]:
    with tempfile.TemporaryDirectory() as folder, running(ServeRunSite(saved_models_folder(), Path(folder))) as site:
        return [_shown(fault, site) for fault in SERVE_RUN]


def _with_hosts() -> list[bool]:
    reason = why_not_permitted()
    if reason:
        print(f"    faults of hosts are left out: {reason}")
        return []
    with tempfile.TemporaryDirectory() as folder, running_cluster(saved_models_folder(), Path(folder)) as site:
        return [_shown_of_hosts(fault, site) for fault in HOST_FAULTS]


def _shown_of_hosts(fault: HostFault, site: ClusterSite) -> bool:
    """Print what a fault cost the clients of routers on other hosts."""
    outcome = inflict_on_host(fault, site)
    is_good = outcome.is_within_goal and outcome.answered_again_s <= ANSWERED_AGAIN_WITHIN_S
    goal = f"none failed, nothing fetched twice, within {ANSWERED_AGAIN_WITHIN_S:.0f} s: {_word(is_met=is_good)}"
    cells = (fault.name, outcome.requests, len(outcome.failures), f"{outcome.answered_again_s:.1f} s", "-", goal)
    print(ROW.format(*cells), flush=True)
    for text in [*sorted(set(outcome.failures))[:3], *map(str, outcome.fetched_twice)]:
        print(f"    {text[:200]}")
    return is_good


def _shown(fault: Fault, site: Site) -> bool:
    outcome = inflict(fault, site)
    print(_row(outcome), flush=True)
    for text in [*sorted(set(outcome.failures))[:3], *outcome.left_over]:
        print(f"    {text[:200]}")
    return outcome.is_within_goal


def _row(outcome: Outcome) -> str:
    most = outcome.fault.most_failed
    goal = "none left" if most is None else f"at most {most} failed, none left"
    return ROW.format(
        outcome.fault.name,
        outcome.requests,
        len(outcome.failures),
        f"{outcome.full_service_s:.1f} s",
        len(outcome.left_over),
        f"{goal}: {_word(is_met=outcome.is_within_goal)}",
    )


def _stopped(site: Site) -> bool:
    """SIGTERM under load: what was accepted is answered, the exit status is 0."""
    below = site.processes()
    with ClosedLoop(site.rest_port, "/v1/models/two:predict", {"instances": [2.0]}) as load:
        wait_until(lambda: load.count > 200, "requests flow")
        status: list[int] = []
        ending = threading.Thread(target=lambda: status.append(site.stop()))
        ending.start()
        ending.join()
    cut = [text for text in load.failures if "refused" not in text.lower()]
    left = _left_of(below)
    is_good = status == [0] and not cut and not left
    goal = f"0 cut, exit status 0, none left: {_word(is_met=is_good)}"
    print(ROW.format("SIGTERM", load.count, len(cut), "-", len(left), goal), flush=True)
    for text in sorted(set(cut))[:3]:
        print(f"    {text[:200]}")
    return is_good


def _left_of(below: frozenset[int]) -> list[int]:
    """Return those processes that do not go."""
    try:
        wait_until(lambda: not any(map(psutil.pid_exists, below)), "no process is left", LEAVE_TIMEOUT_S)
    except AssertionError:
        return [pid for pid in sorted(below) if psutil.pid_exists(pid)]
    return []


def _word(*, is_met: bool) -> str:
    return "met" if is_met else "MISSED"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
