"""Shows throughput against replicas on a cluster of several local raylets: `python -m benchmarks.scaling`.

The model waits 20 ms in each run and uses no CPU, as a model on an accelerator of its own would: the raylets share the
machine's cores, so replicas of anything else could not add up. Ray places each replica where an `accelerator` is free.
"""

from __future__ import annotations

import argparse
import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from urllib.request import urlopen

os.environ["RAY_AUTH_MODE"] = "disabled"  # read by Ray when it is imported

import numpy as np
import orjson
import yaml
from ray.cluster_utils import Cluster

from benchmarks.contenders import Ours, end_on_signals
from benchmarks.load import HOST, LoadProcess, Sample
from benchmarks.peers import base_paths
from benchmarks.workloads import REST, Workload

NODES = 4
ACCELERATORS = 3
REPLICAS = (1, 2, 4)
CLIENTS = 16
SCALED = "scaled"
AUTOSCALING = {
    "min_replicas": 1,
    "max_replicas": 4,
    "target_ongoing_requests": 4,
    "upscale_delay_s": 1,
    "downscale_delay_s": 5,
    "metrics_interval_s": 1,
    "look_back_period_s": 2,
}


class ScalingServer(Ours):
    """Our server on a cluster that runs, with one model for each number of replicas, and one that is scaled."""

    name = "scaling"
    address = ""

    def command(self) -> Sequence[object]:
        (path,) = self.models.values()
        plain = {"base_path": str(path), "resources": {"accelerator": 1}}
        entries: dict[str, Mapping[str, object]] = {
            f"replicas_{count}": {**plain, "num_replicas": count} for count in REPLICAS
        }
        entries[SCALED] = {**plain, "autoscaling": AUTOSCALING}
        settings = self.folder / "settings.yaml"
        settings.write_text(yaml.safe_dump({"models": entries}))
        return self.serving(f"--ray_address={self.address}", f"--model_settings_file={settings}")

    def variables(self) -> Mapping[str, str]:
        return {"RAY_AUTH_MODE": "disabled"}

    def replicas(self, model: str) -> int:
        """Return how many replicas of a model run."""
        with urlopen(f"http://{HOST}:{self.port}/status.json", timeout=10.0) as answer:
            models = orjson.loads(answer.read())["models"]
        (found,) = (one for one in models if one["name"] == model)
        return sum(version["replicas"] or 0 for version in found["versions"])


class Growth:
    """Notes when the number of replicas of the scaled model changes."""

    def __init__(self, server: ScalingServer) -> None:
        self._server = server
        self._began_s = time.monotonic()
        self.seen: list[tuple[float, int]] = []
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while not self._ends.wait(0.25):
            with suppress(OSError, ValueError):
                count = self._server.replicas(SCALED)
                if not self.seen or self.seen[-1][1] != count:
                    self.seen.append((time.monotonic() - self._began_s, count))

    def end(self) -> None:
        self._ends.set()
        self._thread.join()


@contextmanager
def cluster() -> Iterator[str]:
    """A head without accelerators, and nodes that have some; gives the address."""
    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
    try:
        for _ in range(NODES):
            nodes.add_node(num_cpus=1, resources={"accelerator": ACCELERATORS})
        nodes.wait_for_nodes()
        yield nodes.address
    finally:
        nodes.shutdown()


def asked(model: str) -> Workload:
    return Workload(model, REST, model, (1, 64), (CLIENTS,))


def fixed(server: ScalingServer, load: LoadProcess, rounds: int, seconds: float) -> None:
    """Print the throughput of each number of replicas, in turns."""
    rates: dict[int, list[Sample]] = {count: [] for count in REPLICAS}
    for _ in range(rounds):
        for count in REPLICAS:
            rates[count].append(load.run(server.job(asked(f"replicas_{count}"), None, CLIENTS, seconds)))
    one = float(np.median([sample.rate for sample in rates[1]]))
    print(f"| replicas | requests/s, {CLIENTS} clients | ÷ one replica | failed |\n|--:|--:|--:|--:|")
    for count, samples in rates.items():
        rate = float(np.median([sample.rate for sample in samples]))
        print(f"| {count} | {rate:,.0f} | {rate / one:.2f} | {sum(sample.wrong for sample in samples)} |", flush=True)


def scaled(server: ScalingServer, load: LoadProcess, seconds: float) -> None:
    """Print how replicas follow a load that begins and ends at once."""
    growth = Growth(server)
    began_s = time.monotonic()
    sample = load.run(server.job(asked(SCALED), None, CLIENTS, seconds))
    ended_s = time.monotonic() - began_s
    limit_s = time.monotonic() + 60
    while growth.seen[-1][1] > 1 and time.monotonic() < limit_s:
        time.sleep(0.5)
    growth.end()
    print(f"\n{len(sample.latency_s):,} requests, {sample.wrong} failed; load from 0 to {ended_s:.1f} s")
    print("replicas: " + ", ".join(f"{count} at {at_s:.1f} s" for at_s, count in growth.seen))
    ends = np.array(sample.ended_s) - began_s
    print(
        "requests/s: " + ", ".join(f"{rate:,.0f}" for rate in np.histogram(ends, np.arange(0, seconds + 1, 5))[0] / 5)
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scaling", description=__doc__.split("\n", 1)[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0, help="length of one slice")
    parser.add_argument("--load", type=float, default=40.0, help="seconds of load on the scaled model")
    options = parser.parse_args()
    end_on_signals()
    load = LoadProcess()
    with cluster() as address:
        server = ScalingServer(base_paths(["waiting"]))
        server.address = address
        server.start()
        try:
            server.wait_ready(load, [asked(f"replicas_{count}") for count in REPLICAS] + [asked(SCALED)])
            fixed(server, load, options.rounds, options.seconds)
            scaled(server, load, options.load)
        finally:
            server.stop()
            load.close()


if __name__ == "__main__":
    main()
