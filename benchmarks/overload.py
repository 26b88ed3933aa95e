"""Shows what a server does with ten times as many requests as its model can answer: `python -m benchmarks.overload`.

The model takes 20 ms and no processor, as one on an accelerator does, so that the sender does not slow it down. Each
server gets ten times the rate that it reached with clients that wait for their answers. What counts is the p99 of the
requests that are answered, against that of a single client just before, and that memory does not grow. The same model
is served by this project with `max_in_flight`, and under another name without. FastAPI is started anew for each round:
it would work on what is left of the one before.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from statistics import median

import psutil

from benchmarks.arrivals import Arrivals, Outcome, send_all
from benchmarks.checkouts import in_turn
from benchmarks.contenders import Contender, FastApi, Ours, end_on_signals
from benchmarks.load import LoadProcess, Sample
from benchmarks.peers import base_paths
from benchmarks.workloads import REST, Workload

TIMES = 10.0
WANTED = 3.0
MOST_IN_FLIGHT = 6
"""Of the limited model: the four that a server of two cores works on at once, and half as many that wait."""

CLIENTS = 16
LOOK_S = 0.2
MIB = 1024 * 1024
MODEL, FREE = "waiting", "unlimited"
ASKED = Workload("waiting", REST, MODEL, (1, 64), (1,))


class LimitedServer(Ours):
    """Our server with one model under two names, of which one has a limit."""

    def command(self) -> Sequence[object]:
        settings = self.folder / "model_settings.yaml"
        settings.write_text(f"models:\n  {MODEL}:\n    max_in_flight: {MOST_IN_FLIGHT}\n")
        return [*super().command(), f"--model_settings_file={settings}"]


@dataclass(frozen=True, slots=True)
class Subject:
    """One line of the table: a server and the name of its model."""

    label: str
    server: Contender
    asked: Workload
    is_fresh: bool = False
    """Whether the server is started anew for each round."""


@dataclass(frozen=True, slots=True)
class Overload:
    """One slice: the p99 of a single client, and what became of ten times the rate that the model can do."""

    label: str
    per_s: float
    alone_p99_ms: float
    outcome: Outcome
    grown_mib: float

    @property
    def ratio(self) -> float:
        return self.outcome.percentile_ms(99) / self.alone_p99_ms


def resident(processes: Sequence[psutil.Process]) -> float:
    """Return the resident memory of processes in MiB."""
    found = 0
    for one in processes:
        with suppress(psutil.Error):
            found += one.memory_info().rss
    return found / MIB


def right(sample: Sample) -> Sample:
    if sample.wrong:
        raise SystemExit(f"wrong answer: {sample.first_wrong}")
    return sample


class Bench:
    """Measures subjects; `load` waits for answers, `pool` does not."""

    def __init__(self, load: LoadProcess, seconds: float) -> None:
        self._load = load
        self._seconds = seconds
        self._pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))
        self._rates: dict[str, float] = {}

    def slice(self, one: Subject) -> Overload:
        if not one.is_fresh:
            return self._overload(one)
        server = type(one.server)(one.server.models)
        try:
            server.start()
            server.wait_ready(self._load, [one.asked])
            return self._overload(replace(one, server=server))
        finally:
            server.stop()

    def rate(self, one: Subject) -> float:
        """Return how many requests a second the model answers at most; measured once, without a limit in the way."""
        if one.label not in self._rates:
            asked = one.asked if one.is_fresh else replace(one.asked, model=FREE)
            found = right(one.server.measure(self._load, asked, clients=CLIENTS, seconds=self._seconds / 2))
            self._rates[one.label] = found.rate
        return self._rates[one.label]

    def _overload(self, one: Subject) -> Overload:
        alone = right(one.server.measure(self._load, one.asked, seconds=self._seconds / 2))
        job, per_s = one.server.job(one.asked), TIMES * self.rate(one)
        way = one.server.way
        before_mib = most_mib = resident(way)
        sending = self._pool.submit(send_all, Arrivals(job.port, job.path, job.body, per_s, self._seconds))
        while not sending.done():
            most_mib = max(most_mib, resident(way))
            time.sleep(LOOK_S)
        return Overload(one.label, per_s, alone.percentile_ms(99), sending.result(), most_mib - before_mib)

    def close(self) -> None:
        self._pool.shutdown()


def table(slices: Sequence[Overload]) -> Iterator[str]:
    yield (
        "| server | sent/s | answered/s | refused/s | no answer | p99 alone ms | p50 ms | p99 ms | p99 ÷ alone "
        "| refused p99 ms | memory MiB |"
    )
    yield "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|"
    for label in dict.fromkeys(one.label for one in slices):
        mine = [one for one in slices if one.label == label]
        rows = [figures(one) for one in mine]
        middle = {name: median(row[name] for row in rows) for name in rows[0]}
        yield (
            "| {label} | {sent:,.0f} | {answered:.0f} | {refused:,.0f} | {unanswered:.0%} | {alone:.1f} | {p50:.1f} "
            "| {p99:.1f} | {ratio:.2f} | {refused_p99:.1f} | {memory:+.0f} |"
        ).format(label=label, **middle)


def figures(one: Overload) -> Mapping[str, float]:
    outcome = one.outcome
    return {
        "sent": one.per_s,
        "answered": len(outcome.answered_s) / outcome.seconds,
        "refused": len(outcome.refused_s) / outcome.seconds,
        "unanswered": (outcome.unanswered + outcome.failed) / outcome.sent,
        "alone": one.alone_p99_ms,
        "p50": outcome.percentile_ms(50),
        "p99": outcome.percentile_ms(99),
        "ratio": one.ratio,
        "refused_p99": outcome.refused_percentile_ms(99),
        "memory": one.grown_mib,
    }


def remarks(slices: Sequence[Overload], limited: str) -> Iterator[str]:
    found = median(one.ratio for one in slices if one.label == limited)
    verdict = "met" if found <= WANTED else "**missed**"
    yield f"{limited}: p99 of what is answered ÷ p99 alone {found:.2f}, wanted ≤ {WANTED:g}: {verdict}"
    for one in slices:
        if one.outcome.failed:
            yield f"- failed: {one.label}: {one.outcome.failed}, the first: {one.outcome.first_failed!r}"
    late = max(one.outcome.late_s for one in slices)
    busy = max(one.outcome.client_cpu_s / one.outcome.seconds for one in slices)
    yield f"- the sender was {late * 1e3:.0f} ms late at most, and used {busy:.0%} of a core at most"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.overload", description=__doc__.split("\n", 1)[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0, help="length of one overload")
    options = parser.parse_args()
    end_on_signals()
    path = base_paths([MODEL])[MODEL]
    ours, fastapi = LimitedServer({MODEL: path, FREE: path}), FastApi({MODEL: path})
    unlimited = replace(ASKED, model=FREE)
    limited = f"Ray Model Server, max_in_flight: {MOST_IN_FLIGHT}"
    subjects = [
        Subject(limited, ours, ASKED),
        Subject("Ray Model Server, no limit set", ours, unlimited),
        Subject(fastapi.label, fastapi, ASKED, is_fresh=True),
    ]
    load = LoadProcess()
    bench = Bench(load, options.seconds)
    slices: list[Overload] = []
    busy = os.getloadavg()[0]
    try:
        ours.start()
        ours.wait_ready(load, [ASKED, unlimited])
        for number in range(options.rounds):
            slices += [bench.slice(one) for one in in_turn(subjects, number)]
            print(f"round {number + 1} of {options.rounds}", flush=True)
    finally:
        ours.stop()
        bench.close()
        load.close()
    print(f"\n{os.cpu_count()} cores, load {busy:.1f} before; medians of {options.rounds} rounds\n")
    slices.sort(key=lambda one: [subject.label for subject in subjects].index(one.label))
    print(*table(slices), "", *remarks(slices, limited), sep="\n")


if __name__ == "__main__":
    main()
