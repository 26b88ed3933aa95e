"""The last line of a run, and its exit status."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from core.errors import ConfigError, Problem
from deployments.launch.endings import ServerLost, explained, refused, status_of_start
from deployments.system.supervisor import Ending
from tests.support.project import ROOT

PRINT_WITHOUT_READER = """
import os
from deployments.launch.endings import print_line
print_line("read")
os.close(1) if {closed} else None
for _ in range(3):
    print_line("not read")
os.write(2, b"goes on")
"""


@pytest.mark.parametrize(
    ("ending", "line", "status"),
    [
        (Ending(0, 0, was_up=True, was_stopped=True), "stopped", 0),
        (Ending(255, 0, was_up=True, was_stopped=False), "", 255),
        (Ending(0, 9, was_up=False, was_stopped=True), "stopped before it was started", 0),
        (Ending(0, 9, was_up=True, was_stopped=True, was_hurried=True),
         "stopped at once; requests in flight were not finished", 130),
        (Ending(0, 9, was_up=False, was_stopped=False), ("Failed to start server. Error: ABORTED: The server's process "
         "was ended by SIGKILL; the machine or container may be short of memory."), 255),
        (Ending(0, 6, was_up=True, was_stopped=False), "The server's process was ended by SIGABRT.", 1),
    ],
)  # fmt: skip
def test_each_ending_has_a_line_and_a_status(
    ending: Ending, line: str, status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run that failed has said why itself."""
    assert explained(ending, print) == status

    assert capsys.readouterr().out.strip() == line


def test_a_failure_of_any_kind_is_refused_in_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a traceback only if the environment asks for it."""

    def fail() -> int:
        raise TypeError("odd")

    assert status_of_start(fail) == 255
    shown = capsys.readouterr()
    assert shown.out.startswith("Failed to start server. Error: INTERNAL: TypeError: odd")
    assert (shown.out.count("\n"), shown.err) == (1, "")

    monkeypatch.setenv("RAY_MODEL_SERVER_TRACEBACK", "1")
    assert status_of_start(fail) == 255
    assert 'raise TypeError("odd")' in capsys.readouterr().err


def test_mistakes_of_text_files_are_on_stderr_too(capsys: pytest.CaptureFixture[str]) -> None:
    """As protobuf's library writes them there for TensorFlow Serving; other mistakes are not."""
    parse = "Error parsing text-format tensorflow.SomeConfig: 1:2: Expected something."
    problems = (Problem(f"Invalid protobuf file: 'f'. {parse}", "f", 1), Problem("is wrong", "f", 2))

    refused(ConfigError(problems))

    printed = capsys.readouterr()
    assert printed.err == f"{parse}\n"
    assert parse in printed.out
    assert "is wrong" in printed.out


def test_a_failure_after_the_start_is_not_one_of_the_start(capsys: pytest.CaptureFixture[str]) -> None:
    """A service manager starts such a server again."""

    def lose() -> int:
        raise ServerLost("Ray's raylet has ended (exit status -9)")

    assert status_of_start(lose) == 1
    assert capsys.readouterr().out == "The server has ended. Error: Ray's raylet has ended (exit status -9)\n"


def test_an_interrupt_has_the_shells_status() -> None:
    """Without a line: whoever pressed Ctrl-C knows."""

    def interrupt() -> int:
        signal.raise_signal(signal.SIGINT)
        return 0

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        assert status_of_start(interrupt) == 130
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("closed", [False, True], ids=["reader_left", "closed"])
def test_a_server_goes_on_when_nobody_reads_its_lines(*, closed: bool) -> None:
    """As under `| head`, or when its terminal was closed."""
    reader, writer = os.pipe()
    os.close(reader)
    code = PRINT_WITHOUT_READER.format(closed=closed)
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, stdout=writer, stderr=subprocess.PIPE, check=False)
    os.close(writer)

    assert (ended.returncode, ended.stderr) == (0, b"goes on")
