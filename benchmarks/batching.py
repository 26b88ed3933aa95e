"""Compares settings of batching with no batching, on a model for which batching pays: `python -m benchmarks.batching`.

One server has the same model under several names, each with settings of its own. In each round each gets one slice for
each number of clients while the others idle; what counts are the ratios within a round. To tune a model of yours, name
its base path with `--model`, the shape of its rows with `--row`, and change SETTINGS.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median

import numpy as np
import yaml

from benchmarks.contenders import Ours, end_on_signals
from benchmarks.load import LoadProcess, Sample
from benchmarks.peers import base_paths
from benchmarks.workloads import REST, Workload, rest_values

WARM_S = 1.0
TOLERANCE = 1e-4
OFF = "off"

# Fields of BatchingParameters by the name of the setting; None is no batching.
SETTINGS: Mapping[str, Mapping[str, object] | None] = {
    OFF: None,
    "defaults": {},
    "one_thread": {"num_batch_threads": 1},
    "wait_2_ms": {"num_batch_threads": 1, "batch_timeout_micros": 2000},
    "size_8": {"num_batch_threads": 1, "max_batch_size": 8, "max_enqueued_batches": 1000},
    "allowed_sizes": {"num_batch_threads": 1, "max_batch_size": 64, "allowed_batch_sizes": [1, 4, 16, 64]},
}


class BatchingServer(Ours):
    """Our server, with a model for each setting."""

    name = "batching"

    def command(self) -> Sequence[object]:
        (path,) = self.models.values()
        entries = {
            name: {"base_path": str(path)} | ({} if batching is None else {"batching": dict(batching)})
            for name, batching in SETTINGS.items()
        }
        settings = self.folder / "settings.yaml"
        settings.write_text(yaml.safe_dump({"models": entries}))
        return self.serving(f"--model_settings_file={settings}")


class Comparison:
    """Requests of each setting and number of clients, in turns."""

    def __init__(
        self, server: BatchingServer, load: LoadProcess, shape: tuple[int, ...], clients: Sequence[int]
    ) -> None:
        self._server = server
        self._load = load
        self._clients = clients
        self._asked = [Workload(name, REST, name, shape, tuple(clients)) for name in SETTINGS]
        self.samples: dict[tuple[str, int], list[Sample]] = {
            (name, count): [] for name in SETTINGS for count in clients
        }

    def start(self) -> None:
        """Start, warm, and see that all settings lead to the same numbers."""
        self._server.start()
        self._server.wait_ready(self._load, self._asked)
        answers = [
            rest_values(self._server.measure(self._load, asked, clients=max(self._clients), seconds=WARM_S).answer)
            for asked in self._asked
        ]
        if not all(np.allclose(answers[0], other, atol=TOLERANCE) for other in answers):
            raise SystemExit("the settings lead to different answers")

    def round(self, seconds: float) -> None:
        """Return each setting its slices."""
        for count in self._clients:
            for asked in self._asked:
                sample = self._server.measure(self._load, asked, clients=count, seconds=seconds)
                if sample.wrong:
                    raise SystemExit(f"{asked.name}, {count} clients: {sample.wrong} wrong, {sample.first_wrong}")
                self.samples[asked.name, count].append(sample)

    def table(self) -> Iterator[str]:
        """Yield the medians of all rounds as Markdown."""
        yield "| clients | setting | requests/s | to off | p50 ms | p99 ms |"
        yield "|--:|---|--:|--:|--:|--:|"
        for count in self._clients:
            for name in SETTINGS:
                own, off = self.samples[name, count], self.samples[OFF, count]
                ratio = median(one.rate / other.rate for one, other in zip(own, off, strict=True))
                rate, p50, p99 = (
                    median(values)
                    for values in zip(
                        *((one.rate, one.percentile_ms(50), one.percentile_ms(99)) for one in own), strict=True
                    )
                )
                yield f"| {count} | {name} | {rate:.0f} | {ratio:.2f} | {p50:.1f} | {p99:.1f} |"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.batching", description=__doc__.split("\n", 1)[0])
    parser.add_argument("--model", type=Path, help="base path of a model, instead of one made for this")
    parser.add_argument("--row", default="64", help="shape of a row of its input, as in 224,224,3")
    parser.add_argument("--clients", default="1,16,64")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0, help="length of one slice")
    return parser.parse_args()


def numbers(text: str) -> tuple[int, ...]:
    return tuple(int(one) for one in text.split(",") if one)


def main() -> None:
    options = arguments()
    end_on_signals()
    models = {"model": options.model.resolve()} if options.model else base_paths(["wide"])
    server, load = BatchingServer(models), LoadProcess()
    comparison = Comparison(server, load, (1, *numbers(options.row)), numbers(options.clients))
    try:
        began = time.monotonic()
        comparison.start()
        print(f"up after {time.monotonic() - began:.1f} s", flush=True)
        for number in range(options.rounds):
            comparison.round(options.seconds)
            print(f"round {number + 1} of {options.rounds}", flush=True)
        print("\n".join(("", *comparison.table())))
    finally:
        server.stop()
        load.close()


if __name__ == "__main__":
    main()
