"""Work in a session of its own: every way to stop it, and what is left afterwards, which is nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support.clients import wait_until
from tests.support.processes import hear_signals, on_terminal
from tests.support.project import ROOT

PROGRAM = """
import dataclasses, json, os, shutil, subprocess, sys, time
from pathlib import Path
from deployments.system.supervisor import supervise

folder, kind = Path(sys.argv[1]), sys.argv[2]

def note(name, content):
    (folder / "aside").write_text(json.dumps(content))
    (folder / "aside").rename(folder / name)

def work(supervised):
    below = [subprocess.Popen(["sleep", "600"], start_new_session=own).pid for own in (False, True)]
    lost = subprocess.run(["sh", "-c", "sleep 600 >&- 2>&- & echo $!"], stdout=subprocess.PIPE).stdout
    if kind != "early":
        supervised.report_up()
    note("started", [os.getpid(), *below, int(lost)])
    if kind == "ends":
        return 7
    supervised.stop.wait()
    note("stopping", True)
    if kind == "hangs":
        time.sleep(600)
    time.sleep(0.3)
    return 0

note("supervisor", os.getpid())
ending = supervise(work, lambda: shutil.rmtree(folder / "files"))
note("ending", dataclasses.asdict(ending))
sys.exit(ending.status)
"""
ALL_WELL = {"status": 0, "signal": 0, "was_up": True, "was_stopped": True, "was_hurried": False}
ENDS_WITHIN_S = 60.0
Program = subprocess.Popen[Any]


class Run:
    """A program under a supervisor, which notes in a folder what happens to it."""

    def __init__(self, folder: Path, process: Program, terminal: int = -1) -> None:
        self.process = process
        self.terminal = terminal
        self._folder = folder

    def noted(self, name: str) -> Any:
        wait_until((self._folder / name).exists, f"{name} is noted")
        return json.loads((self._folder / name).read_text())

    def has_noted(self, name: str) -> bool:
        return (self._folder / name).exists()

    def send_all(self, number: signal.Signals) -> None:
        for pid in (self.noted("supervisor"), *self.noted("started")[:1]):
            os.kill(pid, number)

    def nothing_is_left(self) -> bool:
        return not any(map(_runs, self.noted("started"))) and not (self._folder / "files").exists()


def _runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@contextmanager
def running(folder: Path, kind: str = "drains", *wrapper: str, terminal: bool = False) -> Iterator[Run]:
    (folder / "files").mkdir()
    command = [*wrapper, sys.executable, "-c", PROGRAM, folder, kind]
    if terminal:
        run = Run(folder, *on_terminal(command, cwd=ROOT))
    else:
        prepare = None if wrapper else hear_signals
        run = Run(folder, subprocess.Popen(command, cwd=ROOT, process_group=0, preexec_fn=prepare))  # noqa: PLW1509
    try:
        run.noted("started")
        yield run
    finally:
        for pid in (run.process.pid, *run.noted("started")):
            if _runs(pid):
                os.kill(pid, signal.SIGKILL)
        run.process.wait(ENDS_WITHIN_S)
        if run.terminal >= 0:
            os.close(run.terminal)


WAYS: dict[str, Callable[[Run], None]] = {
    "SIGTERM": lambda run: run.process.terminate(),
    "SIGHUP": lambda run: run.process.send_signal(signal.SIGHUP),
    "SIGINT": lambda run: run.process.send_signal(signal.SIGINT),
    "SIGTERM to its group": lambda run: os.killpg(run.process.pid, signal.SIGTERM),
    "SIGINT to its group, twice": lambda run: [os.killpg(run.process.pid, signal.SIGINT) for _ in range(2)] and None,
    "SIGTERM to the work, too": lambda run: run.send_all(signal.SIGTERM),
    "SIGTERM to the work alone": lambda run: os.kill(run.noted("started")[0], signal.SIGTERM),
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_the_work_ends_in_order(tmp_path: Path, way: Callable[[Run], None]) -> None:
    """Whoever gets the signal: it is one request to stop, and the status is that of the work."""
    with running(tmp_path) as run:
        way(run)

        assert run.process.wait(ENDS_WITHIN_S) == 0
        assert run.noted("stopping")
        assert run.noted("ending") | {"was_stopped": True} == ALL_WELL
        assert run.nothing_is_left()


@pytest.mark.parametrize("hangs_up", [False, True], ids=["Ctrl-C", "closed"])
def test_a_terminal_stops_the_work(tmp_path: Path, *, hangs_up: bool) -> None:
    """By Ctrl-C, and by going away, after which there is nothing to write to."""
    with running(tmp_path, terminal=True) as run:
        if hangs_up:
            os.close(run.terminal)
            run.terminal = -1
        else:
            os.write(run.terminal, b"\x03")

        assert run.process.wait(ENDS_WITHIN_S) == 0
        assert run.noted("ending") == ALL_WELL
        assert run.nothing_is_left()


def test_timeout_stops_the_work(tmp_path: Path) -> None:
    """It signals the program, and then the group of the program."""
    with running(tmp_path, "drains", "timeout", "--signal=TERM", "600") as run:
        run.process.terminate()

        assert run.noted("ending") == ALL_WELL
        run.process.wait(ENDS_WITHIN_S)
        assert run.nothing_is_left()


def test_nohup_keeps_the_work_when_the_terminal_closes(tmp_path: Path) -> None:
    """A signal that is ignored on purpose stays so."""
    with running(tmp_path, "drains", "nohup") as run:
        run.process.send_signal(signal.SIGHUP)
        run.process.terminate()

        assert run.process.wait(ENDS_WITHIN_S) == 0
        assert run.noted("ending") == ALL_WELL


def test_a_second_interrupt_ends_at_once_and_a_second_termination_does_not(tmp_path: Path) -> None:
    """Scripts repeat SIGTERM until a process is gone; a person who presses Ctrl-C again means it."""
    with running(tmp_path, "hangs") as run:
        run.process.terminate()
        run.noted("stopping")
        run.process.terminate()

        def is_over() -> bool:
            run.process.send_signal(signal.SIGINT)
            return run.has_noted("ending")

        wait_until(is_over, "a later interrupt ends it")
        assert (run.noted("ending")["signal"], run.noted("ending")["was_hurried"]) == (signal.SIGKILL, True)
        assert run.nothing_is_left()


def test_work_that_is_not_up_is_killed(tmp_path: Path) -> None:
    """What it starts may not hear anything for half a minute, and serves nobody yet."""
    with running(tmp_path, "early") as run:
        run.process.terminate()

        assert (run.noted("ending")["was_up"], run.noted("ending")["was_stopped"]) == (False, True)
        assert not run.has_noted("stopping")
        assert run.nothing_is_left()


@pytest.mark.parametrize("who", ["supervisor", "work"])
def test_nothing_is_left_of_what_is_killed(tmp_path: Path, who: str) -> None:
    """Neither processes in sessions of their own, nor those that lost their parent, nor files."""
    with running(tmp_path) as run:
        os.kill(run.noted("supervisor") if who == "supervisor" else run.noted("started")[0], signal.SIGKILL)

        wait_until(run.nothing_is_left, "nothing is left")
        if who == "work":
            assert run.noted("ending")["signal"] == signal.SIGKILL


def test_work_may_end_by_itself(tmp_path: Path) -> None:
    """Its status is passed on, and what it leaves running ends."""
    with running(tmp_path, "ends") as run:
        assert run.process.wait(ENDS_WITHIN_S) == 7
        assert run.noted("ending") == ALL_WELL | {"status": 7, "was_stopped": False}
        assert run.nothing_is_left()
