"""What a division of requests costs: `python -m benchmarks.division`.

Two tables. The first has microseconds of the choice and of the counting at the router, measured alone. The second has
requests a second of a whole server, whose clients wait for their answers: of one model under three names, not divided,
divided between two equal versions by chance, and by a key. They are measured in turns, so that all suffer from the same
neighbours. By chance, two model servers work instead of one; the one key has one version.
"""

from __future__ import annotations

import argparse
import os
import shutil
import timeit
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from statistics import median

import yaml

from benchmarks.checkouts import in_turn
from benchmarks.contenders import Ours, end_on_signals
from benchmarks.load import LoadProcess
from benchmarks.peers import base_paths
from benchmarks.workloads import REST, Workload
from core.delivery.split import WHOLE, Division, MirrorOrder
from core.errors import Code
from core.routing.table import ModelRoutes, Route, RoutingTable
from core.telemetry.metrics import Metrics
from core.versions.servable import ServableId
from deployments.division.divisions import Divisions

CALLS = 100_000
ROUNDS = 7
HEADERS = [
    (b"host", b"models.example"),
    (b"user-agent", b"python-requests/2.32"),
    (b"accept-encoding", b"gzip, deflate"),
    (b"accept", b"*/*"),
    (b"connection", b"keep-alive"),
    (b"x-user-id", b"7f3a9c51-6d0e-4f6b-9a63-0d5c2b1e8f42"),
    (b"content-length", b"20"),
    (b"content-type", b"application/json"),
]
"""As many as clients commonly send."""
TENTH = ((7, 9_000), (8, 1_000))
KINDS = {
    "random": Division(TENTH, 1),
    "sticky": Division(TENTH, 1, "ranking:7f3a", "x-user-id"),
    "four versions": Division(((6, 7_000), (7, 1_000), (8, 1_000), (9, 1_000)), 1),
    "mirror only": Division(((7, WHOLE),), 1, mirror=MirrorOrder(8, WHOLE)),
}


def micros(work: Callable[[], object]) -> float:
    """Return the microseconds of one call, of the best of some rounds."""
    return min(timeit.repeat(work, number=CALLS, repeat=ROUNDS)) / CALLS * 1e6


def measured() -> Iterable[tuple[str, float, float]]:
    """Measure the choice and the counting of each kind."""
    routes = {version: Route.of(ServableId("m", version)) for version in (6, 7, 8, 9)}
    for kind, division in KINDS.items():
        divisions = Divisions(Metrics())
        divisions.follow(RoutingTable(1, {"m": ModelRoutes(routes, division=division)}))
        chooser = divisions.choosers["m", None]
        arm = chooser.choose(()).arm
        assert arm is not None
        yield kind, micros(partial(chooser.choose, HEADERS)), micros(partial(arm.answered, Code.OK, 0.001))


def choices() -> Iterator[str]:
    """Return the first table."""
    yield "| kind | choice us | count us |"
    yield "|---|--:|--:|"
    for kind, choice, count in measured():
        yield f"| {kind} | {choice:.2f} | {count:.2f} |"


MODEL = "mlp"
PLAIN = "plain"
HALVES = {"traffic": {1: 50, 2: 50}}
SETTINGS = {PLAIN: {}, "random": HALVES, "sticky": {**HALVES, "stickiness": {"header": "host"}}}
"""What the settings file says of each name of the model; every request has the header `host`."""


class DividedServer(Ours):
    """Our server with two equal versions of one model under each name."""

    def command(self) -> Sequence[object]:
        settings = {}
        for name, more in SETTINGS.items():
            for version in (1, 2):
                shutil.copytree(self.models[MODEL] / "1", self.folder / name / str(version))
            settings[name] = {"base_path": str(self.folder / name), "version_policy": "all", **more}
        file = self.folder / "model_settings.yaml"
        file.write_text(yaml.safe_dump({"models": settings}))
        return self.serving(f"--model_settings_file={file}")


def rates(
    server: DividedServer, load: LoadProcess, rounds: int, seconds: float, clients: int
) -> dict[str, list[float]]:
    """Measure requests a second of each name, in turns."""
    asked = {name: Workload(name, REST, name, (1, 32), (clients,)) for name in SETTINGS}
    server.start()
    server.wait_ready(load, list(asked.values()))
    found: dict[str, list[float]] = {name: [] for name in SETTINGS}
    for number in range(rounds):
        for name in in_turn(list(SETTINGS), number):
            sample = server.measure(load, asked[name], None, clients, seconds)
            if sample.wrong:
                raise SystemExit(f"wrong answer: {sample.first_wrong}")
            found[name].append(sample.rate)
    return found


def throughputs(found: dict[str, list[float]]) -> Iterator[str]:
    """Return the second table."""
    yield "| requests | median a second | ratio to those that are not divided |"
    yield "|---|--:|--:|"
    for name, mine in found.items():
        ratio = median(one / plain for one, plain in zip(mine, found[PLAIN], strict=True))
        yield f"| {name} | {median(mine):,.0f} | {ratio:.3f} |"


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.division", description=__doc__.split("\n", 1)[0])
    parser.add_argument("--rounds", type=int, default=7, help="rounds of the whole server; 0 leaves it out")
    parser.add_argument("--seconds", type=float, default=2.0, help="length of one measurement")
    parser.add_argument("--clients", type=int, default=8)
    options = parser.parse_args()
    end_on_signals()
    print(*choices(), sep="\n", flush=True)
    if not options.rounds:
        return
    busy = os.getloadavg()[0]
    server, load = DividedServer(base_paths([MODEL])), LoadProcess()
    try:
        found = rates(server, load, options.rounds, options.seconds, options.clients)
    finally:
        server.stop()
        load.close()
    print(f"\n{os.cpu_count()} cores, load {busy:.1f} before; {options.clients} clients, {options.rounds} rounds\n")
    print(*throughputs(found), sep="\n")


if __name__ == "__main__":
    main()
