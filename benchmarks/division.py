"""What a division of requests costs: `python -m benchmarks.division`.

Two tables. The first has microseconds of the choice and of the counting at the router, measured alone. The second has
the throughput of a whole server over a port, with and without a division between two equal versions, in turns, so that
both suffer from the same neighbours; `--choice` leaves it out.
"""

from __future__ import annotations

import timeit
from collections.abc import Callable, Iterable
from functools import partial

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


def report() -> None:
    """Print the first table."""
    print(f"{'kind':16}{'choice us':>12}{'count us':>12}")
    for kind, choice, count in measured():
        print(f"{kind:16}{choice:12.2f}{count:12.2f}")


if __name__ == "__main__":
    report()
