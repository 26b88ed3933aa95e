"""Prints what one large tensor takes in router and model server on its way: `python -m benchmarks.tensor_memory`.

The peak is the kernel's own (VmHWM), reset before each request, above what the process had after small requests: a copy
that lives for a millisecond counts. The first model gives back a few numbers, the second one the tensor itself.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import psutil

from benchmarks.contenders import Contender, Ours, end_on_signals
from benchmarks.load import LoadProcess
from benchmarks.memory import MIB, kind
from benchmarks.peers import base_paths
from benchmarks.workloads import GRPC, IMAGE, V2_BINARY, V2_GRPC, Workload

PROTOCOLS = (V2_BINARY, V2_GRPC, GRPC)
MODELS = ("image", "copy")
LIMIT = 2.2
WARM_REQUESTS = 3


def holders(server: Contender) -> dict[str, psutil.Process]:
    """Return the processes that a request passes through, by model and for the router."""
    found = {}
    for process in server.processes:
        title = (process.cmdline() or [""])[0]
        if kind(process) == "Router":
            found["router"] = process
        for model in MODELS:
            if title.startswith(f"ray::ServeReplica:{model}:"):
                found[model] = process
    return found


def _status(process: psutil.Process, field: str) -> float:
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:")) / 1024


def _forget_peak(process: psutil.Process) -> None:
    Path(f"/proc/{process.pid}/clear_refs").write_text("5")


class TensorMemory:
    """A server that has answered small requests over all protocols."""

    def __init__(self, server: Contender, load: LoadProcess, mib: int) -> None:
        self._server = server
        self._load = load
        self._images = max(1, round(mib * MIB / (4 * IMAGE[1] * IMAGE[2] * IMAGE[3])))
        for model in MODELS:
            small = [Workload("small", protocol, model, IMAGE, (1,)) for protocol in PROTOCOLS]
            server.wait_ready(load, small)
            for one in small * WARM_REQUESTS:
                server.measure(load, one)
        self._processes = holders(server)
        self._before = {name: _status(one, "VmRSS") for name, one in self._processes.items()}

    @property
    def mib(self) -> float:
        """The size of the tensor."""
        return self._images * 4 * IMAGE[1] * IMAGE[2] * IMAGE[3] / MIB

    def peaks(self, protocol: str, model: str) -> tuple[float, float]:
        """Send the tensor; gives the MiB that router and model server took for it."""
        pair = [(name, self._processes[name]) for name in ("router", model)]
        for _, process in pair:
            _forget_peak(process)
        asked = Workload("large", protocol, model, (self._images, *IMAGE[1:]), (1,))
        sample = self._server.measure(self._load, asked)
        if sample.wrong:
            raise SystemExit(f"{protocol}: {sample.first_wrong}")
        router, model_server = (_status(process, "VmHWM") - self._before[name] for name, process in pair)
        return router, model_server


def table(memory: TensorMemory) -> None:
    size = memory.mib
    print(f"a tensor of {size:.0f} MiB; wanted: at most {LIMIT} times over both processes\n")
    print("| protocol | model | router MiB | model server MiB | times its size | |\n|---|---|--:|--:|--:|---|")
    for model in MODELS:
        for protocol in PROTOCOLS:
            router, model_server = memory.peaks(protocol, model)
            times = (router + model_server) / size
            verdict = ("met" if times <= LIMIT else "**missed**") if model == "image" and protocol != GRPC else ""
            print(f"| {protocol} | {model} | {router:.0f} | {model_server:.0f} | {times:.2f} | {verdict} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tensor_memory", description=__doc__.split("\n", 1)[0])
    parser.add_argument("--mib", type=int, default=64, help="size of the tensor")
    options = parser.parse_args()
    end_on_signals()
    load = LoadProcess()
    server = Ours(base_paths(MODELS))
    try:
        server.start()
        table(TensorMemory(server, load, options.mib))
    finally:
        server.stop()
        load.close()


if __name__ == "__main__":
    main()
