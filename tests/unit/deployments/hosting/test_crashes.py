"""Hosted versions whose processes end, hang or lose their host: what is started again, and what goes on answering."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil
import pytest

from core.config.server_settings import TracingSettings
from core.errors import Code, FailedPrecondition, Unavailable
from core.routing.transport import Method
from core.versions.servable import ServableId
from core.versions.world import Condition
from deployments.hosting.version_process import shared_modules
from deployments.routing.replica_directory import BROADCAST_TIMEOUT_S
from tests.support.processes import has_ended
from tests.support.real_hosts import RealHost, code_spec, half_plus_two_spec, pids_of, real_host, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

HOST = """
import asyncio, sys
from pathlib import Path
from tests.support.real_hosts import RealHost, half_plus_two_spec

async def main():
    host = RealHost(Path(sys.argv[1]), guardian=int(sys.argv[3]))
    await host.running(half_plus_two_spec(Path(sys.argv[2])))
    print("running", flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM])
async def test_a_version_whose_process_ends_is_started_again(
    host: RealHost, saved_models: Path, number: signal.Signals
) -> None:
    """As Serve starts a replica again; meanwhile it is being deployed, and others answer."""
    app = await host.running(half_plus_two_spec(saved_models))
    other = await host.running(half_plus_two_spec(saved_models, "other"))
    before = (host.pid(app), (await host.endpoints({}))[app])

    os.kill(before[0], number)

    await host.reaches(app, Condition.DEPLOYING)
    assert await host.predict(other, 2.0) == [3.0]
    await host.reaches(app, Condition.RUNNING)
    assert await host.predict(app, 2.0) == [3.0]
    after = (host.pid(app), (await host.endpoints({}))[app])
    assert (after[0] != before[0], after[1] != before[1]) == (True, True)


async def test_calls_wait_for_a_process_that_is_being_started_again(host: RealHost, saved_models: Path) -> None:
    """As calls over Serve's handle wait for a replica; the caller's own deadline ends the wait."""
    app = await host.running(half_plus_two_spec(saved_models))

    os.kill(host.pid(app), signal.SIGKILL)
    await host.reaches(app, Condition.DEPLOYING)
    late = await host.call(app, int(Method.REST_PREDICT), b'{"instances": [2.0]}', 0.001)
    answer = await host.call(app, int(Method.REST_PREDICT), b'{"instances": [2.0]}', 60.0)

    assert late[0] == Code.DEADLINE_EXCEEDED
    assert (answer[0], json.loads(answer[1])) == (Code.OK, {"predictions": [3.0]})


async def test_a_version_that_cannot_be_loaded_again_after_a_crash_is_shown_as_failed(
    host: RealHost, tmp_path: Path
) -> None:
    """Its files may be gone meanwhile; the watcher decides what follows."""
    spec = code_spec(tmp_path, "m")
    app = await host.running(spec)
    Path(spec.path, "model.py").unlink()

    os.kill(host.pid(app), signal.SIGKILL)

    failed = await host.reaches(app, Condition.FAILED)
    assert "[load-failure" in failed.message


async def test_a_version_that_does_not_answer_its_host_is_replaced(
    host: RealHost, saved_models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever hangs in it: to its host, a stopped process looks alike."""
    monkeypatch.setattr("deployments.hosting.child_watch.HEALTH_EVERY_S", 0.05)
    app = await host.running(half_plus_two_spec(saved_models))
    monkeypatch.setattr("deployments.hosting.child_watch.HANGS_AFTER_S", 0.3)
    stopped = host.pid(app)

    os.kill(stopped, signal.SIGSTOP)

    await until(lambda: has_ended(stopped))
    monkeypatch.setattr("deployments.hosting.child_watch.HANGS_AFTER_S", 30.0)
    await until(lambda: pids_of(app, host.folder))
    await host.reaches(app, Condition.RUNNING)
    assert await host.predict(app, 2.0) == [3.0]


async def test_a_version_that_does_not_answer_hides_no_other_from_the_routers(
    host: RealHost, saved_models: Path
) -> None:
    """They ask for all at once, and began to wait earlier; until it is killed, it is where it was."""
    apps = [await host.running(half_plus_two_spec(saved_models, name)) for name in ("m", "other")]
    before = await host.endpoints({})
    stopped = host.pid(apps[0])
    os.kill(stopped, signal.SIGSTOP)

    async with asyncio.timeout(BROADCAST_TIMEOUT_S - 1.0):
        found = await host.endpoints({})

    os.kill(stopped, signal.SIGCONT)
    assert (found, found.keys()) == (before, set(apps))


async def test_the_socket_of_a_crashed_process_is_removed(host: RealHost, saved_models: Path) -> None:
    """Those of a version that crashes all day would pile up, and the next host would try each."""
    app = await host.running(half_plus_two_spec(saved_models))
    before = set(host.node.sockets.iterdir())

    os.kill(host.pid(app), signal.SIGKILL)
    await host.reaches(app, Condition.DEPLOYING)
    await host.reaches(app, Condition.RUNNING)

    after = set(host.node.sockets.iterdir())
    assert (len(before - after), len(after - before)) == (1, 1)


async def test_versions_outlive_the_process_that_forked_them(host: RealHost, saved_models: Path) -> None:
    """It is started again for the next version, and a crash of an older child is still seen."""
    app = await host.running(half_plus_two_spec(saved_models))
    before, zygote = host.pid(app), host.zygote()

    os.kill(zygote, signal.SIGKILL)

    assert await host.predict(app, 2.0) == [3.0]
    other = await host.running(half_plus_two_spec(saved_models, "other"))
    assert (await host.predict(other, 2.0), host.pid(app)) == ([3.0], before)
    os.kill(before, signal.SIGKILL)
    await host.reaches(app, Condition.DEPLOYING)
    await host.reaches(app, Condition.RUNNING)


async def test_versions_outlive_their_host_and_the_next_one_takes_them_over(saved_models: Path) -> None:
    """A host that is killed costs no answer: Serve replaces it, and nothing is loaded again."""
    with TemporaryDirectory(prefix="h", ignore_cleanup_errors=True) as folder:
        first = _host_process(Path(folder), saved_models, os.getpid())
        (before,) = pids_of("m:1", Path(folder))
        first.kill()
        first.wait()

        second = RealHost(Path(folder))
        seen = await second.observed("m:1")

        assert (seen.condition, second.pid("m:1")) == (Condition.RUNNING, before)
        assert await second.predict("m:1", 2.0) == [3.0]
        await second.close()
        await until(lambda: has_ended(before))


async def test_a_host_whose_versions_were_taken_over_lets_go_of_them(host: RealHost, saved_models: Path) -> None:
    """Serve may start the next one before this one has ended; nothing is forked twice."""
    app = await host.running(half_plus_two_spec(saved_models))
    pid = host.pid(app)

    second = RealHost(host.folder)

    assert (await second.observed(app)).condition is Condition.RUNNING
    await host.reaches(app, Condition.ABSENT)
    assert (second.pid(app), await second.predict(app, 2.0)) == (pid, [3.0])
    third = RealHost(host.folder)
    assert (await third.observed(app)).condition is Condition.RUNNING
    assert (third.pid(app), await third.predict(app, 2.0)) == (pid, [3.0])
    await second.close()
    await third.close()


async def test_a_child_of_another_release_is_not_taken_over(
    saved_models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may not understand this host; the watcher has the version loaded again."""
    with TemporaryDirectory(prefix="h", ignore_cleanup_errors=True) as folder:
        first = _host_process(Path(folder), saved_models, os.getpid())
        (before,) = pids_of("m:1", Path(folder))
        first.kill()
        first.wait()
        monkeypatch.setattr("deployments.hosting.version_processes.server_version", lambda: "another")

        second = RealHost(Path(folder))

        assert await second.versions() == {}
        await until(lambda: has_ended(before))
        await second.close()


async def test_a_child_that_cannot_be_understood_is_left_alone() -> None:
    """It ends by itself; a host that failed here would keep every version of its node from running."""
    async with real_host() as host:
        host.node.sockets.mkdir(mode=0o700)
        strange = await asyncio.start_unix_server(
            lambda _, writer: writer.write(b"\0\0\0\4what"), host.node.sockets / "strange"
        )

        assert await host.versions() == {}
        strange.close()


async def test_children_end_with_their_node(saved_models: Path) -> None:
    """When the raylet has gone, nobody would ever use them again."""
    node = subprocess.Popen(["sleep", "600"])  # noqa: ASYNC220
    with TemporaryDirectory(prefix="h", ignore_cleanup_errors=True) as folder:
        host = _host_process(Path(folder), saved_models, node.pid)
        (child,) = pids_of("m:1", Path(folder))
        host.kill()
        host.wait()

        node.kill()
        node.wait()

        await until(lambda: has_ended(child))


async def test_what_an_earlier_node_left_in_the_folder_is_removed() -> None:
    """Sockets of children that were killed would be tried again at each start."""
    async with real_host() as host:
        await host.versions()
        left = host.node.sockets / "left"
        with subprocess.Popen([sys.executable, "-c", f"import socket; socket.socket(1).bind({str(left)!r})"]) as one:  # noqa: ASYNC220
            one.wait()
        assert left.exists()

        second = RealHost(host.folder)
        await second.versions()

        assert not left.exists()
        await second.close()


def _host_process(folder: Path, saved_models: Path, guardian: int) -> subprocess.Popen[str]:
    """Start a host of one version in a process of its own; returns when the version runs."""
    arguments = [str(folder), str(saved_models), str(guardian)]
    process = subprocess.Popen(
        [sys.executable, "-c", HOST, *arguments],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": "."},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "running\n"
    return process


async def test_a_host_that_ends_in_order_lets_its_versions_end(saved_models: Path) -> None:
    """An application that is deleted leaves no process."""
    async with real_host() as host:
        pid = host.pid(await host.running(half_plus_two_spec(saved_models)))

    assert has_ended(pid)


async def test_a_folder_of_another_user_is_not_used(tmp_path: Path) -> None:
    """What listens in it could be anybody's, and is believed."""
    host = RealHost(tmp_path)
    host.node.sockets.mkdir(mode=0o777)
    host.node.sockets.chmod(0o777)

    with pytest.raises(FailedPrecondition, match="not for this user alone"):
        await host.versions()


async def test_a_host_that_is_ending_loads_nothing(saved_models: Path) -> None:
    """It would not end, or leave a child behind."""
    async with real_host() as host:
        await host.close()

        with pytest.raises(Unavailable):
            await host.load(half_plus_two_spec(saved_models))


async def test_large_modules_of_some_versions_are_imported_before_the_fork(host: RealHost, saved_models: Path) -> None:
    """Their children share them; no import starts a thread, or nothing could be forked any more."""
    spec = half_plus_two_spec(saved_models)
    tracing = TracingSettings(otlp_endpoint="http://127.0.0.1:9", sampling_rate=1.0)
    traced = replace(spec, settings=replace(spec.settings, tracing=tracing))

    assert shared_modules(replace(traced, path="s3://bucket/m/1")) == ("deployments.telemetry.span_export", "s3fs")
    assert shared_modules(spec) == ()
    app = await host.running(traced)
    assert await host.predict(app, 2.0) == [3.0]
    await host.load(replace(spec, path="s3://nowhere/m/1", servable=ServableId("remote", 1)))
    await host.running(half_plus_two_spec(saved_models, "after"))
    assert psutil.Process(host.zygote()).num_threads() == 1
