"""Compares this server with others that serve the same models, in turns, and with the budgets: `make bench`.

All servers are up and warm for the whole run. In each round each gets one slice for each number of clients while the
others idle; what counts are the ratios within a round. Everything is on loopback and shares the machine's cores.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from benchmarks import contenders, workloads
from benchmarks.checkouts import in_turn
from benchmarks.contenders import CONTENDERS, Contender, contender, cpu_s, end_on_signals
from benchmarks.load import LoadProcess
from benchmarks.peers import base_paths
from benchmarks.report import Figures, Report
from benchmarks.workloads import WORKLOADS, Workload

WARM_S = 1.0
IDLE_S = 2.0
LOUD_IDLE = 0.05
TOLERANCE = 1e-4


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.servers", description=__doc__.split("\n", 1)[0])
    parser.add_argument(
        "--contenders", default=",".join(contenders.DEFAULT), help=f"of {', '.join(CONTENDERS)}; all; ours@REVISION"
    )
    parser.add_argument("--workloads", default=",".join(workloads.DEFAULT), help=f"of {', '.join(WORKLOADS)}; all")
    parser.add_argument("--clients", default="", help="numbers of clients instead of each workload's own")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0, help="length of one slice")
    parser.add_argument("--json", type=Path, help="write every slice's figures to this file")
    return parser.parse_args()


class Bench:
    """Servers that are up, and what they are asked."""

    def __init__(self, servers: Sequence[Contender], asked: Sequence[Workload], load: LoadProcess) -> None:
        self.servers = servers
        self.asked = asked
        self._load = load
        self._expected: dict[tuple[str, str], bytes] = {}

    def start(self) -> None:
        for server in self.servers:
            server.start()
        for server in self.servers:
            began = time.monotonic()
            server.wait_ready(self._load, [one for one in self.asked if server.answers(one)])
            say(f"{server.label} is up after {time.monotonic() - began:.1f} s more")

    def pairs(self) -> Iterator[tuple[Workload, Contender]]:
        return ((one, server) for one in self.asked for server in self.servers if server.answers(one))

    def warm(self) -> None:
        """Warm every server, learn its answer to every workload, and see that they all give the same numbers."""
        reference: dict[tuple[str, str], np.ndarray] = {}
        for one, server in self.pairs():
            answer = server.measure(self._load, one, seconds=WARM_S).answer
            self._expected[one.name, server.name] = answer
            values = server.values(one, answer)
            if values is None:
                continue
            known = reference.setdefault((one.model, str(one.shape)), values)
            if not np.allclose(known, values, atol=TOLERANCE):
                raise SystemExit(f"{server.label} answers {one.name} differently: {values[:4]} is not {known[:4]}")

    def idle(self) -> None:
        """Warn about servers that would take the others' time while it is not their turn."""
        before = [server.cpu_s() for server in self.servers]
        time.sleep(IDLE_S)
        for server, used in zip(self.servers, before, strict=True):
            share = (server.cpu_s() - used) / IDLE_S
            if share > LOUD_IDLE:
                say(f"warning: {server.label} uses {share:.0%} of a core while idle")

    def round(self, number: int, seconds: float, clients: Sequence[int]) -> Iterator[Figures]:
        """Give each server its slices; who begins changes with each round."""
        for one in self.asked:
            able = [server for server in self.servers if server.answers(one)]
            for count in clients or one.clients:
                for server in in_turn(able, number):
                    yield self._slice(server, one, count, number, seconds)

    def _slice(self, server: Contender, one: Workload, clients: int, number: int, seconds: float) -> Figures:
        used, way = server.cpu_s(), server.way
        used_on_way = cpu_s(way)
        sample = server.measure(self._load, one, self._expected[one.name, server.name], clients, seconds)
        spent = (server.cpu_s() - used, cpu_s(way) - used_on_way)
        return Figures.of(sample, spent, workload=one.name, clients=clients, contender=server.name, round=number)


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def chosen(text: str, known: Sequence[str]) -> list[str]:
    names = list(known) if text == "all" else text.split(",")
    unknown = {name.partition("@")[0] for name in names} - set(known)
    if unknown:
        raise SystemExit(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    return names


def run(options: argparse.Namespace, load: LoadProcess) -> Report:
    asked = [WORKLOADS[name] for name in chosen(options.workloads, list(WORKLOADS))]
    models = base_paths(dict.fromkeys(one.model for one in asked))
    kinds = [contender(name) for name in chosen(options.contenders, list(CONTENDERS))]
    servers = [kind(models) for kind in kinds if any(kind.answers(one) for one in asked)]
    bench = Bench(servers, asked, load)
    counts = [int(count) for count in options.clients.split(",") if count]
    figures: list[Figures] = []
    try:
        bench.start()
        bench.warm()
        bench.idle()
        for number in range(options.rounds):
            figures += bench.round(number, options.seconds, counts)
            say(f"round {number + 1} of {options.rounds}")
    finally:
        for server in servers:
            server.stop()
    if options.json:
        options.json.write_text(json.dumps([dataclasses.asdict(one) for one in figures], indent=1))
    order = [server.name for server in servers]
    figures.sort(key=lambda one: (list(WORKLOADS).index(one.workload), one.clients, order.index(one.contender)))
    return Report(figures, {server.name: server.label for server in servers})


def main() -> None:
    options = arguments()
    end_on_signals()
    load = LoadProcess()
    busy = os.getloadavg()[0]
    try:
        report = run(options, load)
    finally:
        load.close()
    print(
        f"{os.cpu_count()} cores, load {busy:.1f} before; medians of {options.rounds} rounds of {options.seconds:g} s\n"
    )
    print(*report.table(), "", *report.budgets(), "", *report.remarks(), sep="\n")


if __name__ == "__main__":
    main()
