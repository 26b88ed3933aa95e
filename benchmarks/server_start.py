"""From the command to the first answer: time, and processor time of all processes. `python -m benchmarks.server_start`.

Another revision takes turns: `--than REVISION`. Both run with PYTHONDONTWRITEBYTECODE, as in many
images: what was not compiled at the installation is compiled by each process.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import psutil

from benchmarks.checkouts import NOW, THAN, checkout, in_turn
from benchmarks.contenders import end_on_signals, free_ports
from benchmarks.load import HOST
from benchmarks.peers import ROOT

START_TIMEOUT_S = 1200.0
STOP_TIMEOUT_S = 60.0
POLL_S = 0.05
MODEL = "half_plus_two"


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds until something, and processor seconds of all processes until then."""

    wall_s: float
    cpu_s: float


class StartingServer:
    """The console script of a checkout, and all processes below it."""

    def __init__(self, code: Path, flags: Sequence[str]) -> None:
        self.port = free_ports(2)
        self.folder = Path(tempfile.mkdtemp(prefix="bench-start-"))
        self._began_s = time.monotonic()
        doors = [f"--host={HOST}", f"--rest_api_port={self.port}", f"--port={self.port + 1}"]
        with (self.folder / "log").open("w") as log:
            self._process = subprocess.Popen(
                [code / ".venv" / "bin" / "ray_model_server", *doors, *flags],
                cwd=code,
                env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "TMPDIR": str(self.folder)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def answered(self, path: str, body: object) -> bool:
        """Whether a request gets a good answer now; raises when the server has ended."""
        if self._process.poll() is not None or time.monotonic() > self._began_s + START_TIMEOUT_S:
            raise RuntimeError(f"no answer: {(self.folder / 'log').read_text()[-3000:]}")
        request = urllib.request.Request(
            f"http://{HOST}:{self.port}{path}", None if body is None else json.dumps(body).encode()
        )
        with suppress(OSError, urllib.error.URLError), urllib.request.urlopen(request, timeout=30):
            return True
        return False

    def cost(self) -> Cost:
        """Return what was spent so far, also by processes that have ended."""
        used = 0.0
        root = psutil.Process(self._process.pid)
        for process in (root, *root.children(recursive=True)):
            with suppress(psutil.Error):
                used += sum(process.cpu_times()[:4])  # with the children that have ended
        return Cost(time.monotonic() - self._began_s, used)

    def stop(self) -> None:
        """End it in order."""
        self._process.terminate()
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


@contextmanager
def started(code: Path, flags: Sequence[str]) -> Iterator[StartingServer]:
    """Run the server of a checkout."""
    server = StartingServer(code, flags)
    try:
        yield server
    finally:
        server.stop()


def to_first_answer(code: Path) -> Cost:
    """Start a server with one small model and return the cost of its first answer."""
    flags = [f"--model_name={MODEL}", f"--model_base_path={ROOT}/examples/models/{MODEL}"]
    with started(code, flags) as server:
        while not server.answered(f"/v1/models/{MODEL}:predict", {"instances": [1.0]}):
            time.sleep(POLL_S)
        return server.cost()


def table(costs: dict[str, list[Cost]]) -> str:
    """Return the medians of each checkout, and the medians of the ratios within a round."""
    lines = ["| | s | CPU s |", "|---|--:|--:|"]
    for name, rounds in costs.items():
        lines.append(
            f"| {name} | {median(one.wall_s for one in rounds):.1f} | {median(one.cpu_s for one in rounds):.1f} |"
        )
    if len(costs) == 2:
        pairs = list(zip(*costs.values(), strict=True))
        wall, cpu = (median(getattr(a, one) / getattr(b, one) for a, b in pairs) for one in ("wall_s", "cpu_s"))
        lines.append(f"| ratio | {wall:.2f} | {cpu:.2f} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.server_start", description=__doc__.split("\n", 1)[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--than", help=THAN)
    options = parser.parse_args()
    end_on_signals()
    checkouts = {NOW: ROOT} | ({options.than: checkout(options.than)} if options.than else {})
    costs: dict[str, list[Cost]] = {name: [] for name in checkouts}
    for number in range(options.rounds):
        for name in in_turn(list(checkouts), number):
            costs[name].append(to_first_answer(checkouts[name]))
            print(name, costs[name][-1], f"load {os.getloadavg()[0]:.1f}", flush=True)
    print(f"\nto the first answer, medians of {options.rounds} rounds\n\n{table(costs)}")


if __name__ == "__main__":
    main()
