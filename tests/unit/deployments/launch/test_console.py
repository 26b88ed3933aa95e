"""What is printed while a server starts: at a terminal one line changes in place, a log gets a line now and then."""

from __future__ import annotations

import os
import sys
from functools import partial

import pytest

from core.admin.rollout_messages import loading_message
from core.routing.table import ModelRoutes, RoutingTable
from core.versions.lifecycle import State, VersionStatus
from deployments.launch.console import LOG_COLUMNS, TOLD_AFTER_S, Console
from tests.support.project import ROOT
from tests.support.terminals import Terminal

START = """
import sys, threading
from functools import partial
from core.admin.rollout_messages import loading_message
from core.routing.table import RoutingTable, ModelRoutes
from core.versions.lifecycle import State, VersionStatus
from deployments.launch import console
from deployments.launch.endings import print_line

def table(loaded):
    states = [State.AVAILABLE] * loaded + [State.LOADING] * (69 - loaded)
    return RoutingTable(1, {f"model_{n}": ModelRoutes(statuses=(VersionStatus(1, one),)) for n, one in enumerate(states)})

out = console.Console(clock=iter(range(1000)).__next__)
out._start_ticking = lambda: None  # this program ticks
out.step("starting Ray"); out.tick(); out.tick()
out.step("starting router and watcher"); out.tick()
for loaded in (0, 12):
    out.wait_for(partial(loading_message, table(loaded))); out.tick()
out.say("model_12 version 1 is available")
if "killed" not in sys.argv:
    out.wait_for(None)
    out.say("ready")
print_line("the last line")
"""


def run(columns: int, *arguments: str, term: str = "xterm") -> Terminal:
    environment = {**os.environ, "TERM": term}
    environment.pop("COLUMNS", None)
    terminal = Terminal([sys.executable, "-c", START, *arguments], ROOT, columns, environment)
    assert terminal.ended(60) == 0
    return terminal


@pytest.mark.parametrize("columns", [20, 80, 200])
def test_a_line_changes_in_place_and_leaves_nothing_behind(columns: int) -> None:
    """Whoever scrolls back finds the steps and what became of the models, each once."""
    seen = run(columns)

    texts = [line.partition("] ")[2] or line for line in seen.lines]
    assert texts == [
        "starting Ray",
        "starting router and watcher",
        "model_12 version 1 is available",
        "ready",
        "the last line",
        "",
    ]


@pytest.mark.parametrize("columns", [20, 80, 200])
def test_the_line_that_changes_fits_into_the_terminal(columns: int) -> None:
    """A line that wraps cannot be written again in place."""
    seen = run(columns)

    changing = [one for one in seen.states if " s)" in one]
    assert len(changing) >= 8
    assert max(map(len, changing)) < columns + 8 * (columns == 20), "the time does not fit beside anything else"


def test_the_line_tells_what_is_waited_for_and_how_long() -> None:
    """How many of how many, as many names as fit, and that it goes on."""
    states = [one.partition("] ")[2] for one in run(80).states]

    assert [one for one in states if one.startswith("starting Ray")][:2] == ["starting Ray (1 s)", "starting Ray (2 s)"]
    assert any(one.startswith("0 of 69 loaded, loading model_0:1, model_1:1 and 67 more (") for one in states)
    assert any(one.startswith("12 of 69 loaded, loading model_12:1, model_13:1 and 55 more (") for one in states)


def test_a_line_of_a_killed_process_is_not_written_on() -> None:
    """Its supervisor prints the last line."""
    assert run(80, "killed").lines[-2:] == ["the last line", ""]


def test_a_dumb_terminal_is_written_to_like_a_log() -> None:
    """It knows no sequence that erases a line."""
    assert "\x1b" not in "".join(run(80, term="dumb").states)


class _Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def lines_of(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().out.splitlines()


def busy(_: int) -> RoutingTable:
    return RoutingTable(1, {f"model_{n}": ModelRoutes(statuses=(VersionStatus(1, State.LOADING),)) for n in range(69)})


def test_a_log_gets_a_short_line_after_some_silence(capsys: pytest.CaptureFixture[str]) -> None:
    """Somebody who follows it sees that the server lives; one who reads it later is not swamped."""
    clock = _Clock()
    console = Console(clock)
    console.step("starting Ray")
    console.step("starting router and watcher")
    console.wait_for(partial(loading_message, busy(0)))
    for _ in range(119):
        clock.now_s += TOLD_AFTER_S / 30
        console.tick()
    console.close()

    lines = lines_of(capsys)
    assert lines[:2] == ["[  0.0 s] starting Ray", "[  0.0 s] starting router and watcher"]
    assert [line.partition("] ")[0] for line in lines[2:]] == ["[ 15.0 s", "[ 30.0 s", "[ 45.0 s"]
    assert lines[2].startswith("[ 15.0 s] 0 of 69 loaded, loading model_0:1, ")
    assert lines[2].endswith(" more (15 s)")
    assert max(map(len, lines)) <= LOG_COLUMNS + len("[ 15.0 s] ")


def test_a_log_is_not_told_what_it_has_just_been_told(capsys: pytest.CaptureFixture[str]) -> None:
    """Any other line shows as well that the server lives."""
    clock = _Clock()
    console = Console(clock)
    console.wait_for(partial(loading_message, busy(0)))
    for _ in range(10):
        clock.now_s += TOLD_AFTER_S - 1
        console.say("m version 1 is available")
        console.tick()
    console.close()

    assert len(lines_of(capsys)) == 10


def test_a_step_that_takes_long_is_told_again(capsys: pytest.CaptureFixture[str]) -> None:
    """Ray may take half a minute to start, and its main thread says nothing meanwhile."""
    clock = _Clock()
    console = Console(clock)
    console.step("starting Ray")
    clock.now_s = 16.0
    console.tick()
    console.close()

    assert lines_of(capsys) == ["[  0.0 s] starting Ray", "[ 16.0 s] starting Ray (16 s)"]


def test_nothing_is_waited_for_after_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    """A thread that still reads tables does not write below the last line."""
    clock = _Clock()
    console = Console(clock)
    console.close()
    console.wait_for(partial(loading_message, busy(0)))
    clock.now_s = 100.0
    console.tick()

    assert lines_of(capsys) == []
