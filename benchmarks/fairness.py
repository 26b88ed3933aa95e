"""Shows what tiny requests wait for heavy ones of the same model: `python -m benchmarks.fairness --than REVISION`.

Clients of one row share a version with clients of many rows. What counts is the latency of the tiny ones beside heavy
ones, of this tree against the revision, in turns within one run.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from benchmarks.checkouts import THAN, in_turn
from benchmarks.contenders import Contender, contender, end_on_signals
from benchmarks.load import LoadProcess, Sample
from benchmarks.peers import base_paths
from benchmarks.workloads import WORKLOADS, Workload

TINY_CLIENTS = 16
HEAVY_CLIENTS = 4
HEAVY_ROWS = (64, 512)
"""Rows of a heavy request: one that may run on the event loop, and one that never may."""
LEAD_S = 0.3
"""Heavy clients begin earlier and end later, so that all tiny requests have them beside them."""

TINY = WORKLOADS["tiny"]


@dataclass(frozen=True)
class Beside:
    """Latencies of tiny requests beside heavy ones of so many rows; none for 0."""

    contender: str
    rows: int
    p50_ms: float
    p99_ms: float
    heavy_rate: float


def heavy(rows: int) -> Workload:
    return replace(TINY, name=f"rows{rows}", shape=(rows, *TINY.shape[1:]))


def slice_of(server: Contender, loads: Sequence[LoadProcess], rows: int, seconds: float) -> Beside:
    tiny_load, heavy_load = loads
    around = heavy_load.start(server.job(heavy(rows), None, HEAVY_CLIENTS, seconds + 2 * LEAD_S)) if rows else None
    if around is not None:
        server.measure(tiny_load, TINY, None, 1, LEAD_S)
    sample = server.measure(tiny_load, TINY, None, TINY_CLIENTS, seconds)
    rate = right(around.result()).rate if around is not None else 0.0
    return Beside(server.label, rows, right(sample).percentile_ms(50), sample.percentile_ms(99), rate)


def right(sample: Sample) -> Sample:
    if sample.wrong:
        raise SystemExit(f"{sample.wrong} wrong answers: {sample.first_wrong}")
    return sample


def rounds(servers: Sequence[Contender], loads: Sequence[LoadProcess], count: int, seconds: float) -> Iterator[Beside]:
    for number in range(count):
        for rows in (0, *HEAVY_ROWS):
            for server in in_turn(servers, number):
                yield slice_of(server, loads, rows, seconds)


def median(found: Sequence[Beside], rows: int, label: str, name: str) -> float:
    return statistics.median(float(getattr(one, name)) for one in found if (one.rows, one.contender) == (rows, label))


def table(found: Sequence[Beside], labels: Sequence[str]) -> Iterator[str]:
    yield "| beside | server | tiny p50 ms | tiny p99 ms | heavy requests/s |"
    yield "|---|---|--:|--:|--:|"
    for rows in (0, *HEAVY_ROWS):
        beside = f"{HEAVY_CLIENTS} clients of {rows} rows" if rows else "nobody"
        for label in labels:
            figures = [median(found, rows, label, name) for name in ("p50_ms", "p99_ms", "heavy_rate")]
            yield f"| {beside} | {label} | {figures[0]:.2f} | {figures[1]:.1f} | {figures[2]:.0f} |"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fairness", description=__doc__.split("\n", 1)[0])
    parser.add_argument("--than", help=THAN)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0)
    options = parser.parse_args()
    end_on_signals()
    names = ["ours", *([f"ours@{options.than}"] if options.than else [])]
    models = base_paths([TINY.model])
    servers = [contender(name)(models) for name in names]
    loads = LoadProcess(), LoadProcess()
    try:
        for server in servers:
            server.start()
        for server in servers:
            server.wait_ready(loads[0], [TINY, *map(heavy, HEAVY_ROWS)])
            server.measure(loads[0], TINY, None, TINY_CLIENTS, 1.0)
        found = list(rounds(servers, loads, options.rounds, options.seconds))
    finally:
        for server in servers:
            server.stop()
        for load in loads:
            load.close()
    print(*table(found, [server.label for server in servers]), sep="\n")


if __name__ == "__main__":
    main()
