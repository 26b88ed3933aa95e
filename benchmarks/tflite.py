"""Compares a quantized TensorFlow Lite model with its interpreter called in a loop: `python -m benchmarks.tflite`.

In each round the interpreter, with one thread in a process of its own, gets a slice, and so does each protocol with
each number of clients, while the others idle; what counts are the ratios within a round.
"""

from __future__ import annotations

import argparse
import functools
import multiprocessing
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import orjson

from benchmarks.contenders import Ours, end_on_signals
from benchmarks.load import Job, LoadProcess, Sample
from benchmarks.peers import HOME, ROOT
from benchmarks.workloads import GRPC, PREDICT, REST
from core.inference.tensor_proto import to_proto
from core.protos import serving_pb2

MODEL = "lite"
WARM_S = 2.0
START_TIMEOUT_S = 180.0


@functools.cache
def interpreter(file: str) -> tuple[Any, int, int, np.ndarray]:
    """Open the model in the process that calls; gives indices of input and output, and an image."""
    from ai_edge_litert.interpreter import Interpreter  # noqa: PLC0415 - in the process that runs it

    opened = Interpreter(model_path=file, num_threads=1)
    opened.allocate_tensors()
    (given,), (wanted,) = opened.get_input_details(), opened.get_output_details()
    image = np.random.default_rng(7).integers(0, 256, given["shape"], dtype=np.uint8)
    return opened, given["index"], wanted["index"], image


def in_process(file: str, seconds: float) -> tuple[float, np.ndarray, np.ndarray]:
    """Return runs for each second, the image and its scores."""
    opened, given, wanted, image = interpreter(file)
    began, runs = time.perf_counter(), 0
    scores = image
    while (took := time.perf_counter() - began) < seconds or not runs:
        opened.set_tensor(given, image)
        opened.invoke()
        scores = opened.get_tensor(wanted)
        runs += 1
    return runs / took, image, scores


class Lite(Ours):
    """Our server with the one model, by its own settings."""

    name = "tflite"

    def command(self) -> Sequence[object]:
        return self.serving(f"--model_name={MODEL}", f"--model_base_path={self.models[MODEL]}")


class Comparison:
    """The interpreter and the server, in turns."""

    def __init__(self, server: Lite, load: LoadProcess, file: Path, clients: Sequence[int]) -> None:
        self._server, self._load, self._file, self._clients = server, load, str(file), clients
        self._direct = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))
        self.direct: list[float] = []
        self.samples: dict[tuple[str, int], list[Sample]] = {(p, n): [] for p in (GRPC, REST) for n in clients}

    def start(self) -> None:
        """Start, warm, and see that the scores are those of the interpreter."""
        _, self._image, self._scores = self._direct.submit(in_process, self._file, WARM_S).result()
        self._server.start()
        ends_at = time.monotonic() + START_TIMEOUT_S
        while (sample := self._load.run(self._job(REST, 1, 0.0))).wrong:
            if time.monotonic() > ends_at or not self._server.is_running:
                raise SystemExit(f"no answer: {sample.first_wrong}")
            time.sleep(1.0)
        if orjson.loads(sample.answer)["predictions"] != self._scores.tolist():
            raise SystemExit(f"other scores: {sample.answer[:300]!r}")
        for protocol, clients in self.samples:
            self._load.run(self._job(protocol, clients, WARM_S))

    def _job(self, protocol: str, clients: int, seconds: float) -> Job:
        is_grpc = protocol == GRPC
        if is_grpc:
            request = serving_pb2.PredictRequest()
            request.model_spec.name = MODEL
            request.inputs["serving_default_image"].CopyFrom(to_proto(self._image, as_content=True))
            path, body = PREDICT, request.SerializeToString()
        else:
            path, body = f"/v1/models/{MODEL}:predict", orjson.dumps({"instances": self._image.tolist()})
        return Job(is_grpc, self._server.port + is_grpc, path, body, clients=clients, seconds=seconds)

    def round(self, seconds: float) -> None:
        """Give each contender its slice."""
        rate, _, _ = self._direct.submit(in_process, self._file, seconds).result()
        self.direct.append(rate)
        for protocol, clients in self.samples:
            sample = self._load.run(self._job(protocol, clients, seconds))
            if sample.wrong:
                raise SystemExit(f"{protocol}, {clients} clients: {sample.wrong} wrong, {sample.first_wrong}")
            self.samples[protocol, clients].append(sample)

    def table(self) -> list[str]:
        """Return the medians of all rounds as Markdown."""
        rows = ["| contender | clients | runs/s | to the interpreter | p50 ms |", "|---|--:|--:|--:|--:|"]
        rows.append(f"| interpreter | | {median(self.direct):.0f} | 1 | {1e3 / median(self.direct):.1f} |")
        for (protocol, clients), own in self.samples.items():
            ratio = median(one.rate / rate for one, rate in zip(own, self.direct, strict=True))
            rate, p50 = median(one.rate for one in own), median(one.percentile_ms(50) for one in own)
            rows.append(f"| {protocol} | {clients} | {rate:.0f} | {ratio:.2f} | {p50:.1f} |")
        return rows

    def close(self) -> None:
        self._direct.shutdown()


def base_path() -> Path:
    """Return the model's base path; it is made the first time."""
    path = HOME / "models" / "lite"
    file = path / "1" / "model.tflite"
    if not file.exists():
        subprocess.run([sys.executable, "-m", "benchmarks.make_lite_model", str(file)], check=True, cwd=ROOT)
    return path


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tflite", description=__doc__.split("\n", 1)[0])
    parser.add_argument("--clients", default="1,2,4")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0, help="length of one slice")
    return parser.parse_args()


def main() -> None:
    options = arguments()
    end_on_signals()
    path = base_path()
    server, load = Lite({MODEL: path}), LoadProcess()
    clients = [int(one) for one in options.clients.split(",")]
    comparison = Comparison(server, load, path / "1" / "model.tflite", clients)
    try:
        comparison.start()
        for number in range(options.rounds):
            comparison.round(options.seconds)
            print(f"round {number + 1} of {options.rounds}", flush=True)
        print("\n".join(("", *comparison.table())))
    finally:
        server.stop()
        load.close()
        comparison.close()


if __name__ == "__main__":
    main()
