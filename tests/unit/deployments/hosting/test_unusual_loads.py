"""Hosted versions whose process never speaks, whose host errs, or that are unloaded meanwhile: nothing is left between."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import psutil
import pytest

from core.routing.transport import Answer, Call, Method
from core.versions.world import Condition
from deployments.hosting import version_process
from deployments.hosting.messages import ForkOrder
from deployments.hosting.zygote_process import ZygoteProcess
from tests.support.processes import has_ended
from tests.support.real_hosts import RealHost, code_spec, half_plus_two_spec, real_host, until

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture
def stopped(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, str]]:
    """Every child is stopped before it says anything; returns their numbers and their paths."""
    found: list[tuple[int, str]] = []
    fork = ZygoteProcess.fork

    async def fork_and_stop(self: ZygoteProcess, order: ForkOrder) -> int:
        pid = await fork(self, order)
        os.kill(pid, signal.SIGSTOP)
        found.append((pid, order.path))
        return pid

    monkeypatch.setattr(ZygoteProcess, "fork", fork_and_stop)
    return found


def is_gone(host: RealHost, pid: int, path: str) -> bool:
    """Whether nothing is left of a child."""
    return has_ended(pid) and not (pid in host._zygote._endings or Path(path).exists())


async def test_a_process_that_says_nothing_is_a_failed_load(
    host: RealHost, saved_models: Path, stopped: list[tuple[int, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And it is killed."""
    monkeypatch.setattr(version_process, "SPEAKS_WITHIN_S", 0.2)
    await host.load(half_plus_two_spec(saved_models))

    failed = await host.reaches("m:1", Condition.FAILED)

    assert "it has said nothing for" in failed.message
    assert is_gone(host, *stopped[0])


async def test_an_unload_before_the_process_has_said_anything_ends_it(
    host: RealHost, saved_models: Path, stopped: list[tuple[int, str]]
) -> None:
    """The version counts as gone when it is."""
    await host.load(half_plus_two_spec(saved_models))
    await until(lambda: stopped)

    await host.unload("m:1")

    async with asyncio.timeout(30.0):
        while "m:1" in host._versions:
            await asyncio.sleep(0)
    assert is_gone(host, *stopped[0])


async def test_an_unload_while_the_end_of_a_crash_is_looked_at_leaves_nothing(
    host: RealHost, saved_models: Path
) -> None:
    """At any moment."""
    app = await host.running(half_plus_two_spec(saved_models))
    pid = host.pid(app)
    zygote = host.zygote()
    os.kill(zygote, signal.SIGSTOP)
    os.kill(pid, signal.SIGKILL)
    await host.reaches(app, Condition.DEPLOYING)

    await host.unload(app)
    await host.reaches(app, Condition.ABSENT)

    os.kill(zygote, signal.SIGCONT)
    assert pid not in host._zygote._endings


async def test_whatever_goes_wrong_in_the_host_is_a_failed_load(
    host: RealHost, saved_models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise the version would be deployed for ever; after an unload it is tried again."""

    async def fork(*_: object) -> int:
        raise RuntimeError("the handler is closed")

    spec = half_plus_two_spec(saved_models)
    with monkeypatch.context() as broken:
        broken.setattr(ZygoteProcess, "fork", fork)
        await host.load(spec)
        failed = await host.reaches("m:1", Condition.FAILED)

    assert failed.message.endswith("RuntimeError: the handler is closed")
    await host.unload("m:1")
    await host.running(spec)


async def test_a_call_that_waited_for_a_process_has_what_is_left_of_its_time(
    host: RealHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its caller has waited, too."""
    calls: list[Call] = []

    async def called(_: object, call: Call, *__: object) -> Answer:
        calls.append(call)
        return Answer(0, b"")

    app = await host.running(code_spec(tmp_path, "m", load="time.sleep(0.5)"))
    monkeypatch.setattr(version_process, "call_over", called)
    os.kill(host.pid(app), signal.SIGKILL)
    await host.reaches(app, Condition.DEPLOYING)

    await host.call(app, int(Method.REST_PREDICT), b"{}", 60.0)
    await host.call(app, int(Method.REST_PREDICT), b"{}", None)

    waited, unbounded = calls
    assert waited.timeout_s is not None
    assert 0.0 < waited.timeout_s < 59.6
    assert unbounded.timeout_s is None


async def test_what_a_model_prints_appears_at_once(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Also of a process that is killed later."""
    seen: list[str] = []

    def is_printed() -> bool:
        seen.append(capfd.readouterr().out)
        return "printed by a model" in "".join(seen)

    async with real_host() as host:
        app = await host.running(code_spec(tmp_path, "m", load="print('printed by a model')"))

        async with asyncio.timeout(20.0):
            await until(is_printed)

        assert psutil.pid_exists(host.pid(app))
