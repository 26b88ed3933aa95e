"""Shows how much two routers of a node carry against one: `python -m benchmarks.routers`.

The rate itself says little on a machine whose cores are all taken by clients and models. So the processor time of each
router process is what counts: the busiest one is full first, and a router of its own core carries one second divided by
what each request costs it. Each client has a connection of its own: the kernel deals connections, not requests.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from statistics import median

import psutil

from benchmarks.checkouts import in_turn
from benchmarks.contenders import Ours, end_on_signals
from benchmarks.load import Job, LoadProcess
from benchmarks.memory import kind
from benchmarks.peers import base_paths
from benchmarks.workloads import WORKLOADS, Workload

ROUTERS = (1, 2)
CLIENTS = 128
WORKLOAD_NAMES = ("tiny", "tiny-grpc")
WANTED = 1.7


@dataclass(frozen=True, slots=True)
class Slice:
    """One slice: seconds of each router process, and the requests that were answered."""

    routers_s: Sequence[float]
    requests: int

    @property
    def busiest_us(self) -> float:
        """Microseconds of the busiest router for each request of all, so one second ÷ this is the highest rate."""
        return max(self.routers_s) / self.requests * 1e6

    @property
    def all_us(self) -> float:
        return sum(self.routers_s) / self.requests * 1e6


class RoutedServer(Ours):
    """Our server with a number of routers."""

    count = 1

    def command(self) -> Sequence[object]:
        return [*super().command(), f"--router_replicas={self.count}"]

    def routers(self) -> Mapping[int, float]:
        """Return the processor seconds of each router process."""
        found: dict[int, float] = {}
        for process in self.processes:
            with suppress(psutil.Error):
                if kind(process).partition(".")[0] == "Router":
                    times = process.cpu_times()
                    found[process.pid] = times.user + times.system
        return found

    def job(self, asked: Workload, expected: bytes | None = None, clients: int = 1, seconds: float = 0.0) -> Job:
        return replace(super().job(asked, expected, clients, seconds), channels=clients)

    def slice(self, load: LoadProcess, one: Workload, seconds: float) -> Slice:
        before = self.routers()
        sample = self.measure(load, one, clients=CLIENTS, seconds=seconds)
        if sample.wrong:
            raise SystemExit(f"wrong answer: {sample.first_wrong}")
        after = self.routers()
        return Slice([after[pid] - before[pid] for pid in before], len(sample.latency_s))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.routers", description=__doc__.split("\n", 1)[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0, help="length of one slice")
    options = parser.parse_args()
    end_on_signals()
    load = LoadProcess()
    servers = [RoutedServer(base_paths(["mlp"])) for _ in ROUTERS]
    asked = [WORKLOADS[name] for name in WORKLOAD_NAMES]
    slices: dict[tuple[str, int], list[Slice]] = {}
    try:
        for server, count in zip(servers, ROUTERS, strict=True):
            server.count = count
            server.start()
        for server in servers:
            server.wait_ready(load, asked)
        for number in range(options.rounds):
            for one in asked:
                for server in in_turn(servers, number):
                    found = server.slice(load, one, options.seconds)
                    slices.setdefault((one.name, server.count), []).append(found)
    finally:
        for server in servers:
            server.stop()
        load.close()
    print_report(slices)


def print_report(slices: Mapping[tuple[str, int], Sequence[Slice]]) -> None:
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {CLIENTS} clients\n")
    print("| workload | routers | all routers, us a request | busiest router, us a request | most requests/s | ÷ one |")
    print("|---|--:|--:|--:|--:|--:|")
    for name in WORKLOAD_NAMES:
        one = median(found.busiest_us for found in slices[name, 1])
        for count in ROUTERS:
            busiest = median(found.busiest_us for found in slices[name, count])
            together = median(found.all_us for found in slices[name, count])
            print(f"| {name} | {count} | {together:.0f} | {busiest:.0f} | {1e6 / busiest:,.0f} | {one / busiest:.2f} |")
        ratio = one / median(found.busiest_us for found in slices[name, 2])
        print(f"{name}: two ÷ one {ratio:.2f}, wanted ≥ {WANTED}: {'met' if ratio >= WANTED else '**missed**'}")


if __name__ == "__main__":
    main()
