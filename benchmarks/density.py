"""Measures many small models on one machine, hosted and with a Serve deployment each: `python -m benchmarks.density`.

Each server starts without models, rests, gets all of them at once in its list, and rests again. A version's share of
the idle CPU is what the whole server uses more than before, so what watcher, routers and controller do for it counts.
"""

from __future__ import annotations

import argparse
import http.client
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import psutil

from benchmarks.contenders import Ours, end_on_signals
from benchmarks.load import HOST
from benchmarks.peers import ROOT
from benchmarks.rollout import verdict
from benchmarks.workloads import WORKLOADS, rest_body

MODEL = ROOT / "examples" / "models" / "mlp"
BODY = rest_body(WORKLOADS["tiny"])
ASK_EVERY_S = 0.05
START_TIMEOUT_S = 180.0
LONGEST_LOAD_S = 500.0
KIB, MIB = 1024, 1024 * 1024
OWN, HOSTED = "own deployments", "hosted"

WANTED_TIME, WANTED_PSS_MIB, WANTED_IDLE = 0.15, 30.0, 0.1


@dataclass(frozen=True)
class Figures:
    """One server with its models; `idle` is in percent of a core for each version, `first_ms` of first requests."""

    kind: str
    models: int
    all_answer_s: float
    cpu_s: float
    pss_mib: float
    common_mib: float
    threads: float
    idle: float
    first_ms: float
    later_ms: float

    @property
    def extrapolated_s(self) -> float:
        """Seconds until all answer, for a hundred models."""
        return self.all_answer_s / self.models * 100


class DenseServer(Ours):
    """A server whose list of models is written while it runs."""

    def __init__(self, kind: str) -> None:
        super().__init__({})
        self.flags = ("--host_light_versions",) if kind == HOSTED else ()

    def command(self) -> Sequence[object]:
        self.list_models(())
        more = ("--model_config_file_poll_wait_seconds=1", "--file_system_poll_wait_seconds=1", *self.flags)
        return self.serving(f"--model_config_file={self.folder / 'models.config'}", *more)

    def list_models(self, names: Sequence[str]) -> None:
        entries = (f'config {{ name: "{one}" base_path: "{MODEL}" model_platform: "tensorflow" }}' for one in names)
        aside = self.folder / "models.config.new"
        aside.write_text("model_config_list {\n" + "\n".join(entries) + "\n}\n")
        aside.rename(self.folder / "models.config")

    def ask(self, path: str, body: bytes | None = None) -> int:
        connection = http.client.HTTPConnection(HOST, self.port, timeout=30.0)
        try:
            connection.request("POST" if body else "GET", path, body)
            answer = connection.getresponse()
            answer.read()
            return answer.status
        finally:
            connection.close()

    def wait_open(self) -> None:
        ends_at = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < ends_at:
            with suppress(OSError):
                if self.ask("/healthz") == 200:
                    return
            time.sleep(ASK_EVERY_S)
        raise RuntimeError(f"the server does not start: {self._last_words()}")

    def first_answer_s(self, name: str, ends_at: float) -> float:
        """Ask until a model answers; gives how long the answer took."""
        while time.monotonic() < ends_at:
            began_s = time.perf_counter()
            if self.ask(f"/v1/models/{name}:predict", BODY) == 200:
                return time.perf_counter() - began_s
            time.sleep(ASK_EVERY_S)
        raise RuntimeError(f"{name} does not answer")

    def titled(self, *parts: str) -> list[psutil.Process]:
        return [one for one in self.processes if any(part in " ".join(one.cmdline()) for part in parts)]

    def versions(self) -> tuple[list[psutil.Process], list[psutil.Process]]:
        """Return the processes of the versions, and those that hosted ones have in common."""
        versions = self.titled(":ModelServer", "ray_model_server hosted ")
        return versions, self.titled(":VersionHost", "deployments.hosting.zygote")

    def idle_cores(self, seconds: float) -> float:
        """Return how many cores the server uses while nobody asks."""
        used_s, began_s = self.cpu_s(), time.monotonic()
        time.sleep(seconds)
        return (self.cpu_s() - used_s) / (time.monotonic() - began_s)


def pss_mib(processes: Sequence[psutil.Process]) -> float:
    """Return the proportional set size of processes together."""
    lines = (Path(f"/proc/{one.pid}/smaps_rollup").read_text().splitlines() for one in processes)
    kib = sum(int(line.split()[1]) for one in lines for line in one if line.startswith("Pss:"))
    return kib * KIB / MIB


def measured(kind: str, models: int, options: argparse.Namespace) -> Figures:
    server = DenseServer(kind)
    server.start()
    try:
        server.wait_open()
        time.sleep(options.settle)
        before = server.idle_cores(options.idle)
        return _with_models(server, kind, models, before, options)
    finally:
        server.stop()


def _with_models(server: DenseServer, kind: str, models: int, before: float, options: argparse.Namespace) -> Figures:
    names = [f"m{number:03d}" for number in range(models)]
    used_s, began_s = server.cpu_s(), time.monotonic()
    server.list_models(names)
    first = [server.first_answer_s(name, began_s + LONGEST_LOAD_S) for name in names]
    all_answer_s, cpu_s = time.monotonic() - began_s, server.cpu_s() - used_s
    later = [server.first_answer_s(name, began_s + LONGEST_LOAD_S) for name in names]
    time.sleep(options.settle)
    idle = server.idle_cores(options.idle)
    versions, common = server.versions()
    if len(versions) != models:
        raise RuntimeError(f"{len(versions)} processes for {models} versions")
    return Figures(
        kind,
        models,
        all_answer_s,
        cpu_s,
        pss_mib(versions) / models,
        pss_mib(common),
        sum(one.num_threads() for one in versions) / models,
        (idle - before) / models * 100,
        median(first) * 1e3,
        median(later) * 1e3,
    )


def print_figures(found: Sequence[Figures]) -> None:
    print(
        "| | models | all answer after s | CPU s | PSS a version MiB | host and zygote MiB | threads a version |",
        end="",
    )
    print(" idle CPU a version, % of a core | first request ms | later ms |")
    print("|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|")
    for one in found:
        memory = f"{one.pss_mib:.1f} | {one.common_mib:.0f} | {one.threads:.0f}"
        idle = f"{one.idle:.3f} | {one.first_ms:.1f} | {one.later_ms:.1f}"
        print(f"| {one.kind} | {one.models} | {one.all_answer_s:.1f} | {one.cpu_s:.1f} | {memory} | {idle} |")
    by_kind = {one.kind: one for one in found}
    if HOSTED in by_kind:
        hosted = by_kind[HOSTED]
        print(
            f"\nPSS {hosted.pss_mib:.1f} MiB, wanted ≤ {WANTED_PSS_MIB:g}: {verdict(hosted.pss_mib <= WANTED_PSS_MIB)}"
        )
        print(f"idle {hosted.idle:.3f} %, wanted ≤ {WANTED_IDLE:g}: {verdict(hosted.idle <= WANTED_IDLE)}")
    if len(by_kind) == 2:
        ratio = by_kind[HOSTED].extrapolated_s / by_kind[OWN].extrapolated_s
        print(f"time until all answer ÷ own {ratio:.3f}, wanted ≤ {WANTED_TIME:g}: {verdict(ratio <= WANTED_TIME)}")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.density", description=__doc__.split("\n", 1)[0])
    parser.add_argument("--hosted", type=int, default=100, help="hosted models; 0 leaves them out")
    parser.add_argument("--own", type=int, default=16, help="models with a Serve deployment each; 0 leaves them out")
    parser.add_argument("--settle", type=float, default=10.0, help="seconds before each look at a server that rests")
    parser.add_argument("--idle", type=float, default=20.0, help="seconds of each look")
    options = parser.parse_args()
    end_on_signals()
    counts = {HOSTED: options.hosted, OWN: options.own}
    print_figures([measured(kind, models, options) for kind, models in counts.items() if models])


if __name__ == "__main__":
    main()
