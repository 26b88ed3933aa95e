"""Takes the start of a version apart: `python -m benchmarks.start`.

The process of a version may be older than its directory: then it was waiting for one, and that step is below zero.
Time counts from the moment the version directory is complete. The steps are read from the log files of the processes
and from the time at which the operating system started the version's process.
"""

from __future__ import annotations

import argparse
import os
import re
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from statistics import median

import psutil

from benchmarks.contenders import Ours, end_on_signals
from benchmarks.load import LoadProcess
from benchmarks.rollout import PAUSE_S, RollingServer

STEPS = {
    "noticed by the watcher, and found complete": r"version_state model=mlp version={} .*to=START",
    "submitted to Ray Serve": r"version_state model=mlp version={} .*to=LOADING",
    "process started by Ray": "",
    "imports done, the replica begins": r"version_loading model=mlp version={}\b",
    "TensorFlow opened, model loaded and warm": r"version_loaded model=mlp version={}\b",
    "seen RUNNING by the watcher, table published": r"version_state model=mlp version={} .*to=AVAILABLE",
    "first answer": "",
}
PROCESS, ANSWER = "process started by Ray", "first answer"


class StartedServer(RollingServer):
    """A server whose log files can be read."""

    def logs(self) -> Iterator[Path]:
        return self.server.folder.glob("rms-*/session_2*/logs/ray_model_server_*.log")

    def steps(self, pause_s: float) -> dict[str, float]:
        """Bring the next version after a rest, and give the seconds from its completeness to each step."""
        time.sleep(pause_s)
        offset_s = time.time() - time.monotonic()
        complete_s, answered_s, _ = self.change()
        began_s = complete_s + offset_s
        lines = [line for path in self.logs() for line in path.read_text().splitlines()]
        found = {step: self._logged(lines, text.format(self.version)) for step, text in STEPS.items() if text}
        found |= {PROCESS: self._process_started(), ANSWER: answered_s + offset_s}
        return {step: found[step] - began_s for step in STEPS}

    @staticmethod
    def _logged(lines: list[str], text: str) -> float:
        line = next(line for line in lines if re.search(text, line))
        return datetime.fromisoformat(line.split(" ", 1)[0]).timestamp()

    def _process_started(self) -> float:
        title = f"ray::ServeReplica:mlp:{self.version}:"
        (process,) = (one for one in self.server.processes if _title(one).startswith(title))
        ticks = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[19]
        age_s = time.clock_gettime(time.CLOCK_BOOTTIME) - int(ticks) / os.sysconf("SC_CLK_TCK")
        return time.time() - age_s


class LoggingServer(Ours):
    """Our server, with the folder of Ray's session where it can be found."""

    def variables(self) -> dict[str, str]:
        return {"TMPDIR": str(self.folder)}


def _title(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.start", description=__doc__.split("\n", 1)[0])
    parser.add_argument("--changes", type=int, default=5)
    parser.add_argument("--pause", type=float, default=PAUSE_S, help="seconds of rest before each version")
    options = parser.parse_args()
    end_on_signals()
    load = LoadProcess()
    server = StartedServer(load, LoggingServer)
    try:
        starts = [server.steps(options.pause) for _ in range(options.changes)]
    finally:
        server.stop()
        load.close()
    print(f"medians of {options.changes} versions\n")
    print("| step | s after the directory is complete | of which this step |\n|---|--:|--:|")
    before = 0.0
    for step in STEPS:
        at_s = median(one[step] for one in starts)
        print(f"| {step} | {at_s:.2f} | {at_s - before:.2f} |")
        before = at_s


if __name__ == "__main__":
    main()
