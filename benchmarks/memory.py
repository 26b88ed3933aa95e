"""Prints the private memory of each process of a running server, and what is left of it after version changes.

`python -m benchmarks.memory` starts a server; `--pid ID` only looks at one that runs. Private memory is what would
come back if the process ended: the pages that it wrote, so not TensorFlow's library, which the kernel can drop.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

from benchmarks.contenders import end_on_signals
from benchmarks.load import LoadProcess
from benchmarks.rollout import RollingServer, verdict

MIB = 1024 * 1024
FLAT = 0.05
SETTLE_S = 3.0
FIRST_CHANGES = 2
"""Changes before the comparison begins: by then every path has been taken once."""


def kind(process: psutil.Process) -> str:
    """Name a process by what it does: a Ray title without the version, or its program."""
    command = process.cmdline()
    title = command[0] if command else process.name()
    if title.startswith("ray::"):
        return title.removeprefix("ray::").split("(")[0].rsplit(":", 1)[-1].strip() or title
    words = [Path(word).name for word in command[:3] if not word.startswith("-")]
    return next((word for word in words if not word.startswith("python")), title)


def private(processes: Sequence[psutil.Process]) -> Mapping[str, list[float]]:
    """Return the private MiB of the processes by kind."""
    found: dict[str, list[float]] = defaultdict(list)
    for process in processes:
        with suppress(psutil.Error):
            found[kind(process)].append(sum(one.private_dirty + one.swap for one in process.memory_maps()) / MIB)
    return found


def family(pid: int) -> list[psutil.Process]:
    root = psutil.Process(pid)
    return [root, *root.children(recursive=True)]


def total(processes: Sequence[psutil.Process]) -> float:
    return sum(sum(one) for one in private(processes).values())


def print_table(processes: Sequence[psutil.Process]) -> None:
    found = private(processes)
    print("| process | number | private MiB |\n|---|--:|--:|")
    for name, sizes in sorted(found.items(), key=lambda one: -sum(one[1])):
        print(f"| {name} | {len(sizes)} | {sum(sizes):.0f} |")
    print(f"| all | {sum(len(one) for one in found.values())} | {sum(sum(one) for one in found.values()):.0f} |\n")


def settled(server: RollingServer) -> float:
    time.sleep(SETTLE_S)
    return total(server.server.processes)


def change_versions(server: RollingServer, count: int) -> None:
    sizes = [settled(server)]
    for _ in range(count):
        server.change()
        sizes.append(settled(server))
        print(f"after change {len(sizes) - 1}: {sizes[-1]:.0f} MiB", flush=True)
    first = sizes[min(FIRST_CHANGES, count)]
    growth = sizes[-1] / first - 1
    print(
        f"\n{count} version changes: {first:.0f} → {sizes[-1]:.0f} MiB, {growth:+.1%}, wanted within ± {FLAT:.0%}:"
        f" {verdict(abs(growth) <= FLAT)}\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory", description=__doc__.split("\n", 1)[0])
    parser.add_argument("--pid", type=int, help="the server's process; starts none")
    parser.add_argument("--changes", type=int, default=20)
    options = parser.parse_args()
    if options.pid:
        print_table(family(options.pid))
        return
    end_on_signals()
    load = LoadProcess()
    server = RollingServer(load)
    try:
        time.sleep(SETTLE_S)
        print_table(server.server.processes)
        change_versions(server, options.changes)
        print_table(server.server.processes)
    finally:
        server.stop()
        load.close()


if __name__ == "__main__":
    main()
