"""Shows what a server uses while nothing happens: `python -m benchmarks.watcher_idle`.

First the watcher alone, over a host on which everything rests and folders on disk, in simulated time. Then, with
`--servers`, whole servers with a deployment for each of some models, one after the other; `--than REVISION` compares
with another revision.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from benchmarks.checkouts import THAN, checkout
from benchmarks.contenders import Ours, end_on_signals, model_list
from benchmarks.load import LoadProcess
from benchmarks.memory import kind
from benchmarks.peers import BIN, ROOT, base_paths
from benchmarks.workloads import REST, Workload
from core.config.model_config import ModelConfig, ModelResources
from core.config.server_settings import ServerSettings
from core.config.version_policy import All
from core.errors import Problem
from core.routing.router_report import RouterReport
from core.routing.table import RoutingTable
from core.versions.servable import app_name
from core.versions.servable_spec import ServableSpec
from core.versions.world import AppObservation, Condition
from deployments.storage.version_source import VersionSource
from deployments.versions.reconciler import Reconciler

WANTED_SHARE = 0.02
WANTED_RATIO = 0.15
VERSIONS_A_MODEL = 1
PULL_EVERY_S = 5.0
SETTLED_AFTER_S = 30.0
WATCHER = "Watcher"


class SimulatedClock:
    """Time that passes when the watcher pauses."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def steady_s(self) -> float:
        return self.now_s

    def wall_s(self) -> float:
        return self.now_s + 1.7e9


class RestingHost:
    """A Serve on which every submitted version runs at once, with one router that takes every table."""

    def __init__(self) -> None:
        self._apps: dict[str, AppObservation] = {}
        self._table = RoutingTable(0)

    def observe(self, moving: Collection[str] = ()) -> Mapping[str, AppObservation]:
        del moving
        return dict(self._apps)

    def deploy(self, spec: ServableSpec, resources: ModelResources) -> None:
        del resources
        self._apps[app_name(spec.servable)] = AppObservation(Condition.RUNNING, "", 1, 1.7e9)

    def delete(self, app: str) -> None:
        del self._apps[app]

    def publish(self, table: RoutingTable) -> list[RouterReport]:
        self._table = table
        return [self.report()]

    def report(self) -> RouterReport:
        return RouterReport("r", self._table.generation, {}, self._table.watcher)

    def tables(self) -> list[RoutingTable]:
        return []

    def cpus(self) -> int:
        return 64

    def full_disk(self) -> str:
        return ""


class GivenList:
    """A list of models that never changes."""

    def __init__(self, models: tuple[ModelConfig, ...]) -> None:
        self._models = models
        self.spoken: frozenset[str] = frozenset()

    def models(self) -> tuple[ModelConfig, ...]:
        return self._models

    def recall(self, spoken: frozenset[str]) -> None:
        self.spoken |= spoken

    def batching(self) -> None:
        return None

    def session_config(self) -> bytes:
        return b""

    def unread(self) -> tuple[Problem, ...]:
        return ()

    def changes(self) -> int:
        return 0

    def joined(self, listed: tuple[ModelConfig, ...]) -> tuple[ModelConfig, ...]:
        return listed

    def placed(self, listed: tuple[ModelConfig, ...]) -> tuple[ModelConfig, ...]:
        return listed


def folders(root: Path, versions: int) -> tuple[ModelConfig, ...]:
    """Make models with some version directories each."""
    names = [f"model_{number}" for number in range(versions // VERSIONS_A_MODEL)]
    for name in names:
        for version in range(1, VERSIONS_A_MODEL + 1):
            (root / name / str(version) / "variables").mkdir(parents=True)
            (root / name / str(version) / "saved_model.pb").write_bytes(b"graph")
    return tuple(ModelConfig(name, str(root / name), policy=All()) for name in names)


def events() -> dict[str, Any]:
    """Return what tells the watcher of changed folders; an older checkout has nothing that does."""
    try:
        from deployments.storage.folder_events import FolderEvents  # noqa: PLC0415
    except ImportError:
        return {}
    return {"events": FolderEvents(lambda: None)}


def simulate(versions: int, seconds: float) -> float:
    """Return the share of a core that the watcher's ticks use once every version is served."""
    clock, host = SimulatedClock(), RestingHost()
    with tempfile.TemporaryDirectory(prefix="bench-watcher-") as root:
        models = folders(Path(root), versions)
        watch = Reconciler(ServerSettings(), host, VersionSource(), GivenList(models), clock, **events())
        pull_s = used_s = began_s = 0.0
        while not began_s or clock.now_s < began_s + seconds:
            if clock.now_s >= pull_s:
                watch.pulled(host.report())
                pull_s = clock.now_s + PULL_EVERY_S
            before_s = time.process_time()
            clock.now_s += watch.tick()
            used_s += time.process_time() - before_s
            if not began_s and len(watch.table.apps) == versions and clock.now_s > 1000.0 + SETTLED_AFTER_S:
                began_s, used_s = clock.now_s, 0.0
    return used_s / seconds


class Checkout(Ours):
    """The server of a checkout, with one model under many names."""

    count = 16

    def command(self) -> Sequence[object]:
        ((_, path),) = self.models.items()
        models = {f"m{number}": path for number in range(self.count)}
        return self.serving(f"--model_config_file={model_list(self.folder, models)}")

    def used(self) -> Mapping[int, tuple[str, float]]:
        """Return the kind and the processor seconds of each process; Ray adds the present method to a title."""
        found: dict[int, tuple[str, float]] = {}
        for process in self.processes:
            with suppress(psutil.Error):
                times = process.cpu_times()
                found[process.pid] = kind(process).partition(".handle_")[0], times.user + times.system
        return found


def idle_shares(code: Path, count: int, seconds: float, load: LoadProcess) -> Mapping[str, tuple[int, float]]:
    """Start a server, wait until every model answers and a little longer; return the idle share of each kind."""
    server = Checkout(base_paths(["mlp"]))
    server.bin, server.place, server.count = code / ".venv" / "bin", code, count
    server.start()
    try:
        asked = [Workload(f"m{number}", REST, f"m{number}", (1, 32), (1,)) for number in range(count)]
        server.wait_ready(load, asked)
        time.sleep(SETTLED_AFTER_S / 2)
        before, began_s = server.used(), time.monotonic()
        time.sleep(seconds)
        after, took_s = server.used(), time.monotonic() - began_s
    finally:
        server.stop()
    shares: dict[str, list[float]] = defaultdict(list)
    for pid, (name, used_s) in after.items():
        shares[name].append((used_s - before.get(pid, ("", 0.0))[1]) / took_s)
    return {name: (len(found), sum(found)) for name, found in shares.items()}


def simulated_elsewhere(code: Path, versions: int, seconds: float) -> float:
    """Run this simulation on another checkout's code."""
    with tempfile.TemporaryDirectory(prefix="bench-watcher-") as root:
        for package, place in (("core", code), ("deployments", code), ("benchmarks", ROOT)):
            (Path(root) / package).symlink_to(place / package)
        command = [BIN / "python", "-m", "benchmarks.watcher_idle", "--simulated-only"]
        options = [f"--versions={versions}", f"--seconds={seconds}"]
        variables = {**os.environ, "PYTHONPATH": root}
        ended = subprocess.run([*command, *options], cwd=root, env=variables, check=True, capture_output=True)
    return float(json.loads(ended.stdout))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.watcher_idle", description=__doc__.split("\n", 1)[0])
    parser.add_argument("--versions", type=int, default=200, help="of the simulation")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long is measured")
    parser.add_argument("--than", help=THAN)
    parser.add_argument("--servers", action="store_true", help="measure whole servers, too")
    parser.add_argument("--models", type=int, default=16, help="of each whole server")
    parser.add_argument("--simulated-only", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    end_on_signals()
    share = simulate(options.versions, options.seconds)
    if options.simulated_only:
        print(json.dumps(share))
        return
    verdict = "met" if share <= WANTED_SHARE else "**missed**"
    print(f"simulated, {options.versions} versions: {share:.2%} of a core, wanted ≤ {WANTED_SHARE:.0%}: {verdict}")
    if options.than:
        other = simulated_elsewhere(checkout(options.than), options.versions, options.seconds)
        print(f"{options.than}: {other:.2%}; ours ÷ it {share / other:.2f}")
    if options.servers:
        compare_servers(options)


def compare_servers(options: argparse.Namespace) -> None:
    load = LoadProcess()
    try:
        ours = idle_shares(ROOT, options.models, options.seconds, load)
        other = idle_shares(checkout(options.than), options.models, options.seconds, load) if options.than else {}
    finally:
        load.close()
    print(f"\n{options.models} deployments, % of a core while idle, load {os.getloadavg()[0]:.1f}\n")
    print("| process | number | ours | the other | ÷ |\n|---|--:|--:|--:|--:|")
    for name, (number, share) in sorted(ours.items(), key=lambda one: -one[1][1]):
        theirs = other.get(name, (0, 0.0))[1]
        ratio = f"{share / theirs:.2f}" if theirs else ""
        print(f"| {name} | {number} | {share:.2%} | {theirs:.2%} | {ratio} |")
    total, theirs = (sum(share for _, share in one.values()) for one in (ours, other))
    print(f"| all | | {total:.1%} | {theirs:.1%} | {f'{total / theirs:.2f}' if theirs else ''} |")
    if theirs:
        ratio = ours[WATCHER][1] / other[WATCHER][1]
        print(f"\nwatcher ÷ the other's: {ratio:.2f}, wanted ≤ {WANTED_RATIO}: ", end="")
        print("met" if ratio <= WANTED_RATIO else "**missed**")


if __name__ == "__main__":
    sys.exit(main())
