"""The image's entry point in a container: the server is its first process, under the limits of a guarded cluster."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from tests.support.clients import wait_until
from tests.support.container import INSTALLED, USER, Container, container, why_no_container
from tests.support.image import stages

ASK = """
import urllib.request
body = b'{"instances": [1.0, 2.0, 5.0]}'
print(urllib.request.urlopen("http://127.0.0.1:8501/v1/models/half_plus_two:predict", body).read().decode())
"""
STOPS_WITHIN_S = 10.0
"""What `docker stop` gives a container before it kills it."""


@dataclass(frozen=True)
class Run:
    """What was seen of a container from its start to its end."""

    predicted: str
    listed: str
    users: set[tuple[int, ...]]
    environment: dict[str, str]
    raylet: str
    orphans: list[psutil.Process]
    stopped_in_s: float
    status: int
    output: str
    errors: str


def raylet_of(one: Container) -> str:
    """Return the command line of Ray's raylet; empty before it runs."""
    for process in one.first.children(recursive=True):
        with suppress(psutil.Error):
            if process.name() == "raylet":
                return " ".join(process.cmdline())
    return ""


def orphans_left(one: Container) -> list[psutil.Process]:
    """Start a process that loses its parent and ends soon; return what is there of it once it has ended."""
    one.run("sh", "-c", "sleep 0.2 > /dev/null 2>&1 &")
    sleeping = [each for each in one.first.children() if each.name() == "sleep"]
    with suppress(AssertionError):
        wait_until(lambda: not any(each.is_running() for each in sleeping), "it is reaped", 10)
    return [each for each in one.first.children() if each.status() == psutil.STATUS_ZOMBIE]


@pytest.fixture(scope="module")
def run(saved_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """One container with one model, asked over both protocols, and stopped as `docker stop` does."""
    if reason := why_no_container(tmp_path_factory.mktemp("tried")):
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("container")
    with container(stages()["cpu"], folder, saved_models, MODEL_NAME="half_plus_two") as one:
        python = str(INSTALLED / "bin" / "python")
        wait_until(lambda: one.started.poll() is not None or one.run(python, "-c", ASK).returncode == 0, "it answers")
        predicted, listed = one.run(python, "-c", ASK), one.run("tensorflow_model_server", "status", "half_plus_two")
        below = [one.first, *one.first.children(recursive=True)]
        seen = {
            "predicted": predicted.stdout or predicted.stderr,
            "listed": listed.stdout or listed.stderr,
            "users": {tuple(each.uids()) for each in below},
            "environment": one.first.environ(),
            "raylet": raylet_of(one),
            "orphans": orphans_left(one),
        }
        began_s = time.monotonic()
        os.kill(one.first.pid, signal.SIGTERM)
        output, errors = one.started.communicate(timeout=120)
        yield Run(
            **seen, stopped_in_s=time.monotonic() - began_s, status=one.started.returncode, output=output, errors=errors
        )


def test_it_answers_on_tensorflow_servings_ports(run: Run) -> None:
    """The variable names the model; REST and gRPC, and the command is found by its other name."""
    assert '"predictions": [2.5, 3.0, 4.5' in run.predicted
    assert "half_plus_two" in run.listed
    assert "AVAILABLE" in run.listed


def test_any_user_will_do(run: Run) -> None:
    """One without an entry in the list of users, without a home, without rights: all processes are his."""
    assert run.users == {(USER, USER, USER)}
    assert "HOME" not in run.environment


def test_nothing_is_said_about_the_limits(run: Run) -> None:
    """Where there is enough for the server, a warning would only frighten: 64 MiB of `/dev/shm`, half a CPU."""
    assert run.errors == ""
    assert run.output.splitlines()[0].endswith("starting Ray")


def test_ray_follows_the_limits(run: Run) -> None:
    """Its objects lie where there is room for them, and half a CPU counts as one: Ray itself would make it none."""
    assert " --plasma_directory=/tmp/rms-" in run.raylet
    assert "CPU,1" in run.raylet


def test_orphans_are_reaped(run: Run) -> None:
    """The server is the first process, and inherits those that lose their parents: no init is needed."""
    assert run.orphans == []


def test_it_stops_in_the_time_that_docker_gives(run: Run) -> None:
    """An idle server drains, ends Ray, and leaves with status 0."""
    assert (run.status, run.output.splitlines()[-1][-7:]) == (0, "stopped")
    assert run.stopped_in_s < STOPS_WITHIN_S
