"""What copies cost those who ask: `python -m benchmarks.mirror`.

One server has the same model three times: `plain`, `split` between two versions (95 and 5 %), and `mirrored`, which is
split in the same way and has 10 % of its requests copied to a third version. They take turns, so that all suffer from
the same neighbours; what counts is the ratio within a round. The last columns say what became of the copies.
"""

from __future__ import annotations

import argparse
import http.client
import re
import shutil
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import yaml

from benchmarks.checkouts import in_turn
from benchmarks.contenders import Ours, end_on_signals
from benchmarks.load import HOST, LoadProcess
from benchmarks.peers import base_paths
from benchmarks.workloads import INPUTS, WORKLOADS, Workload

MODELS = ("plain", "split", "mirrored")
TRAFFIC = {7: 95, 8: 5}
MIRROR = {"version": "9", "percent": 10}
READY_AFTER_S = 10.0
"""Until then all routers have the divisions, and connections for copies are open."""
COPIES = re.compile(r'^ray_model_server_mirror_requests_total\{.*result="(\w+)"\} (\d+)', re.MULTILINE)


class Mirroring(Ours):
    """The server with the three models."""

    name = "mirror"

    def command(self) -> Sequence[object]:
        (source,) = self.models.values()
        models = {name: self._model(name, source) for name in MODELS}
        settings, monitoring = self.folder / "settings.yaml", self.folder / "monitoring.config"
        settings.write_text(yaml.safe_dump({"models": models}), encoding="utf-8")
        monitoring.write_text("prometheus_config { enable: true }", encoding="utf-8")
        return self.serving(f"--model_settings_file={settings}", f"--monitoring_config_file={monitoring}")

    def _model(self, name: str, source: Path) -> Mapping[str, object]:
        base = self.folder / name
        versions = (7,) if name == "plain" else (7, 8) if name == "split" else (7, 8, 9)
        for version in versions:
            shutil.copytree(source / "1", base / str(version))
        entry: dict[str, object] = {"base_path": str(base), "version_policy": "all"}
        if name != "plain":
            entry["traffic"] = TRAFFIC
        if name == "mirrored":
            entry["mirror"] = MIRROR
        return entry

    def copies(self) -> dict[str, int]:
        """Return what became of all copies so far."""
        connection = http.client.HTTPConnection(HOST, self.port, timeout=30)
        connection.request("GET", "/monitoring/prometheus/metrics")
        page = connection.getresponse().read().decode()
        connection.close()
        return {result: int(count) for result, count in COPIES.findall(page)}


@dataclass(frozen=True)
class Turn:
    """What one model did for some clients; `copies` of them were compared, and `dropped` were not."""

    model: str
    clients: int
    rate: float
    p50_ms: float
    p99_ms: float
    compared: int
    dropped: int


def turn(server: Mirroring, load: LoadProcess, asked: Workload, clients: int, seconds: float) -> Turn:
    before = server.copies()
    sample = server.measure(load, asked, None, clients, seconds)
    if sample.wrong:
        raise SystemExit(f"{sample.wrong} wrong answers: {sample.first_wrong}")
    after = server.copies()
    done = {result: count - before.get(result, 0) for result, count in after.items()}
    dropped = done.pop("dropped", 0)
    p50_ms, p99_ms = (sample.percentile_ms(percent) for percent in (50, 99))
    return Turn(asked.model, clients, sample.rate, p50_ms, p99_ms, sum(done.values()), dropped)


def rounds(server: Mirroring, load: LoadProcess, options: argparse.Namespace) -> Iterator[Turn]:
    for number in range(options.rounds):
        for clients in map(int, options.clients.split(",")):
            for model in in_turn(MODELS, number):
                asked = replace(WORKLOADS[options.workload], model=model)
                yield turn(server, load, asked, clients, options.seconds)


def table(found: Sequence[Turn]) -> Iterator[str]:
    """Write a line for each model and number of clients, with medians of ratios to `plain` within a round."""
    yield "| clients | model | requests/s | of plain | p50 ms | p99 ms | of plain | compared | dropped |"
    yield "|--:|---|--:|--:|--:|--:|--:|--:|--:|"
    for clients in dict.fromkeys(one.clients for one in found):
        turns = {name: [one for one in found if (one.model, one.clients) == (name, clients)] for name in MODELS}
        for name, own in turns.items():
            pairs = list(zip(own, turns["plain"], strict=True))
            rate, p50, p99 = (
                statistics.median(getattr(one, field) for one in own) for field in ("rate", "p50_ms", "p99_ms")
            )
            of_rate = statistics.median(one.rate / plain.rate for one, plain in pairs)
            of_p99 = statistics.median(one.p99_ms / plain.p99_ms for one, plain in pairs)
            compared, dropped = sum(one.compared for one in own), sum(one.dropped for one in own)
            yield (
                f"| {clients} | {name} | {rate:.0f} | {of_rate:.3f} | {p50:.2f} | {p99:.2f} | {of_p99:.3f} "
                f"| {compared} | {dropped} |"
            )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.mirror", description=__doc__.split("\n", 1)[0])
    parser.add_argument("--workload", default="tiny", choices=("tiny", "tiny-grpc"))
    parser.add_argument("--clients", default="1,16")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=2.0)
    options = parser.parse_args()
    end_on_signals()
    INPUTS.update(dict.fromkeys(MODELS, INPUTS["mlp"]))
    server, load = Mirroring(base_paths(["mlp"])), LoadProcess()
    try:
        server.start()
        asked = [replace(WORKLOADS[options.workload], model=name) for name in MODELS]
        server.wait_ready(load, asked)
        time.sleep(READY_AFTER_S)
        for one in asked:
            server.measure(load, one, None, 16, options.seconds)
        print(*table(list(rounds(server, load, options))), sep="\n")
    finally:
        server.stop()
        load.close()


if __name__ == "__main__":
    main()
