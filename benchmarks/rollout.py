"""Measures version changes: how soon a new version answers, and what callers notice while it takes over.

Run as `python -m benchmarks.rollout`. Time counts from the moment the version directory is complete.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import numpy as np
import orjson

from benchmarks.contenders import Ours, end_on_signals
from benchmarks.load import HOST, LoadProcess, Sample
from benchmarks.peers import ROOT
from benchmarks.workloads import WORKLOADS, rest_body

MODEL = ROOT / "examples" / "models" / "mlp" / "1"
LAST = "saved_model.pb"
TINY = WORKLOADS["tiny"]
ASK_EVERY_S = 0.02
LONGEST_CHANGE_S = 60.0
PAUSE_S = 20.0
"""Rest before each change: nobody brings versions back to back, and the server may get ready for the next one."""

LIMIT_S = 6.0
LIMIT_P99 = 3.0


class RollingServer:
    """Our server with one model whose versions come and go."""

    def __init__(self, load: LoadProcess, kind: type[Ours] = Ours, *, in_place: bool = False) -> None:
        self._in_place = in_place
        self._folder = Path(tempfile.mkdtemp(prefix="bench-versions-"))
        self._base_path = self._folder / "mlp"
        self._base_path.mkdir()
        self.version = 0
        self._write_next()
        self.server = kind({"mlp": self._base_path})
        self.server.start()
        self.server.wait_ready(load, [TINY])

    def _write_next(self) -> float:
        """Put the next version there, in one step or in place; gives the time when it was complete."""
        self.version += 1
        if self._in_place:
            target = self._base_path / str(self.version)
            shutil.copytree(MODEL, target, ignore=shutil.ignore_patterns(LAST))
            shutil.copy(MODEL / LAST, target)
            return time.monotonic()
        copy = self._folder / "copy"
        shutil.copytree(MODEL, copy)
        copy.rename(self._base_path / str(self.version))
        return time.monotonic()

    def change(self) -> tuple[float, float, float]:
        """Write a version; gives the times when it was complete, when it answered, when the old one was gone."""
        complete_s = self._write_next()
        self._wait(self._newest_answers)
        answered_s = time.monotonic()
        self._wait(self._old_are_gone)
        return complete_s, answered_s, time.monotonic()

    @staticmethod
    def _wait(done: Callable[[], bool]) -> None:
        ends_at = time.monotonic() + LONGEST_CHANGE_S
        while not done():
            if time.monotonic() > ends_at:
                raise TimeoutError(f"no version change within {LONGEST_CHANGE_S:.0f} s")
            time.sleep(ASK_EVERY_S)

    def _newest_answers(self) -> bool:
        try:
            self._ask(f"/v1/models/mlp/versions/{self.version}:predict", rest_body(TINY))
        except HTTPError:
            return False
        return True

    def _old_are_gone(self) -> bool:
        seen = orjson.loads(self._ask("/v1/models/mlp"))["model_version_status"]
        return all(one["state"] == "END" for one in seen if int(one["version"]) != self.version)

    def _ask(self, path: str, body: bytes | None = None) -> bytes:
        request = Request(f"http://{HOST}:{self.server.port}{path}", body)
        with urlopen(request, timeout=10.0) as answer:
            return bytes(answer.read())

    def stop(self) -> None:
        self.server.stop()
        shutil.rmtree(self._folder, ignore_errors=True)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rollout", description=__doc__.split("\n", 1)[0])
    parser.add_argument("--changes", type=int, default=5, help="version changes without load")
    parser.add_argument("--clients", type=int, default=16, help="clients of the change under load")
    parser.add_argument("--pause", type=float, default=PAUSE_S, help="seconds of rest before each change")
    parser.add_argument("--in-place", action="store_true", help=f"copy file by file, {LAST} last, as TFX's Pusher does")
    parser.add_argument("--before", type=float, default=10.0, help="seconds of load before it")
    return parser.parse_args()


def idle_changes(server: RollingServer, count: int, pause_s: float) -> None:
    taken = []
    for _ in range(count):
        time.sleep(pause_s)
        complete_s, answered_s, _ = server.change()
        taken.append(answered_s - complete_s)
    middle = statistics.median(taken)
    print(
        f"| version complete → first answer | ≤ {LIMIT_S:g} s | {middle:.1f} s ({min(taken):.1f} to {max(taken):.1f}) |"
        f" {verdict(middle <= LIMIT_S)} |"
    )


def loaded_change(server: RollingServer, load: LoadProcess, clients: int, before_s: float) -> None:
    """Change the version while clients call the newest one, and compare them with before."""
    expected = load.run(server.server.job(TINY)).answer
    running: Future[Sample] = load.start(server.server.job(TINY, expected, clients, before_s + 2 * LIMIT_S))
    time.sleep(before_s)
    complete_s, answered_s, gone_s = server.change()
    sample = running.result()
    ended, latency = np.array(sample.ended_s), np.array(sample.latency_s) * 1e3
    before = float(np.percentile(latency[ended < complete_s], 99))
    during = float(np.percentile(latency[(ended >= complete_s) & (ended <= gone_s)], 99))
    answers = (
        f"{sample.wrong} of {len(latency) + sample.wrong} ({answered_s - complete_s:.1f} s until the first answer)"
    )
    print(f"| failed requests, {clients} clients | 0 | {answers} | {verdict(not sample.wrong)} |")
    print(
        f"| p99 during ÷ before | ≤ {LIMIT_P99:g} | {during:.1f} ms ÷ {before:.1f} ms = {during / before:.1f} |"
        f" {verdict(during <= LIMIT_P99 * before)} |"
    )
    if sample.wrong:
        print(f"\nthe first failure: {sample.first_wrong}")


def verdict(is_met: bool) -> str:  # noqa: FBT001
    return "met" if is_met else "**missed**"


def main() -> None:
    options = arguments()
    end_on_signals()
    load = LoadProcess()
    server = RollingServer(load, in_place=options.in_place)
    try:
        print("| version change | wanted | measured | |\n|---|--:|--:|---|", flush=True)
        idle_changes(server, options.changes, options.pause)
        time.sleep(options.pause)
        loaded_change(server, load, options.clients, options.before)
    finally:
        server.stop()
        load.close()


if __name__ == "__main__":
    main()
