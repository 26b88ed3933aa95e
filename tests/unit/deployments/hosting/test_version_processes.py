"""Hosted versions: children that load, answer, drain and end as replicas do, by real processes."""

from __future__ import annotations

import asyncio
import json
import os
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from core.config.model_config import BatchingParameters, LoggingConfig, ModelResources
from core.config.server_settings import TracingSettings
from core.errors import Code, ConfigError, Unavailable
from core.profiling.profile_request import RecordingOrder
from core.routing.transport import Call, Method
from core.telemetry.metric_names import LOAD_ATTEMPT_COUNT
from core.telemetry.metric_report import from_bytes
from core.telemetry.trace_context import TraceContext, pack
from core.versions.load_report import failure_in
from core.versions.servable import ServableId
from core.versions.servable_spec import ServableSpec
from core.versions.world import ABSENT, Condition
from deployments.container.cpus import usable_cpus
from deployments.routing.awaited_call import call_over
from deployments.routing.replica_set import ReplicaSet
from tests.support import onnx_models
from tests.support.lite_models import LITE_MODELS
from tests.support.processes import has_ended
from tests.support.real_hosts import RealHost, code_spec, half_plus_two_spec, pids_of, until
from tests.support.span_collector import SpanCollector

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_version_answers_over_the_host_and_over_its_own_direct_transport(
    host: RealHost, saved_models: Path
) -> None:
    """Routers connect to the child itself; only calls over the handle go through the host."""
    app = await host.running(half_plus_two_spec(saved_models))

    assert await host.predict(app, 1.0, 2.0) == [2.5, 3.0]

    (endpoint,) = (await host.endpoints({})).values()
    connections = ReplicaSet("n")
    await connections.update([endpoint])
    connection = connections.choose()
    assert connection is not None
    answer = await call_over(connection, Call(Method.REST_PREDICT, b'{"instances": [4.0]}', 10.0))
    assert (answer.code, json.loads(answer.body)) == (Code.OK, {"predictions": [4.0]})
    connections.retire()


async def test_a_running_version_is_shown_with_its_host_and_one_replica(host: RealHost, saved_models: Path) -> None:
    """The watcher reads it as Serve's status of an application."""
    app = await host.running(half_plus_two_spec(saved_models))

    seen = await host.observed(app)

    assert (seen.condition, seen.replicas, seen.host, seen.message) == (Condition.RUNNING, 1, "host@n", "")
    assert seen.deployed_s > 0


async def test_a_version_has_a_process_and_session_of_its_own_with_its_name(host: RealHost, saved_models: Path) -> None:
    """Operators find it in lists of processes, and its log beside those of replicas."""
    app = await host.running(half_plus_two_spec(saved_models))

    pid = host.pid(app)

    assert os.getsid(pid) == pid
    (log,) = host.folder.glob("ray_model_server_model_m_1_*.log")
    assert "version_loaded model=m version=1" in log.read_text(encoding="utf-8")


async def test_the_process_that_forks_has_one_thread_and_no_ray(host: RealHost, saved_models: Path) -> None:
    """A fork of a process with threads may hang; Ray starts some."""
    app = await host.running(half_plus_two_spec(saved_models))

    zygote = psutil.Process(host.zygote())

    assert zygote.num_threads() == 1
    assert "_raylet" not in Path(f"/proc/{host.pid(app)}/maps").read_text(encoding="utf-8")


async def test_two_children_draw_different_random_numbers(host: RealHost, tmp_path: Path) -> None:
    """They begin as copies of one process; models that shuffle or sample must not do so alike."""
    draw = "import random, uuid; x = x * 0 + np.random.random() + random.random()"
    apps = [await host.running(code_spec(tmp_path, name, predict=draw)) for name in ("a", "b")]

    first, second = [await host.predict(app, 1.0) for app in apps]

    assert first != second


async def test_a_load_that_fails_is_shown_with_its_text_until_it_is_unloaded(host: RealHost, tmp_path: Path) -> None:
    """The watcher reads the failure as from Serve's status, and loads again after the unload."""
    spec = replace(half_plus_two_spec(tmp_path), path=str(tmp_path / "none"))
    await host.load(spec)

    failed = await host.reaches("m:1", Condition.FAILED)

    failure = failure_in(failed.message)
    assert (failure.code, failure.is_permanent) == (Code.NOT_FOUND, True)
    assert "does not appear to contain a SavedModel bundle" in failure.message
    await host.unload("m:1")
    assert await host.observed("m:1") == ABSENT


async def test_a_failed_version_is_loaded_again_on_request(host: RealHost, saved_models: Path, tmp_path: Path) -> None:
    """What was repaired meanwhile must not stay failed."""
    spec = half_plus_two_spec(saved_models)
    await host.load(replace(spec, path=str(tmp_path / "none")))
    await host.reaches("m:1", Condition.FAILED)

    await host.running(spec)

    assert await host.predict("m:1", 2.0) == [3.0]


async def test_a_child_that_dies_while_it_loads_is_a_failed_load(host: RealHost, tmp_path: Path) -> None:
    """A file that crashes the library ends its own child alone."""
    await host.load(code_spec(tmp_path, "m", load="import ctypes; ctypes.string_at(0)"))
    other = await host.running(code_spec(tmp_path, "other"))

    failed = await host.reaches("m:1", Condition.FAILED)

    failure = failure_in(failed.message)
    assert (failure.code, failure.is_permanent) == (Code.UNAVAILABLE, False)
    assert "killed by signal 11 (SIGSEGV)" in failure.message
    assert await host.predict(other, 1.0) == [1.0]


async def test_a_repeated_load_changes_nothing(host: RealHost, saved_models: Path) -> None:
    """The watcher repeats what it did not see answered."""
    spec = half_plus_two_spec(saved_models)
    for _ in range(3):
        await host.load(spec)
    app = await host.running(spec)
    await host.load(spec)

    assert len(pids_of(app, host.folder)) == 1


async def test_an_unload_lets_calls_finish_and_ends_the_process(host: RealHost, tmp_path: Path) -> None:
    """A call in work gets its answer; then the memory is back."""
    began = tmp_path / "began"
    slow = f"open({str(began)!r}, 'w').close(); time.sleep(0.7)"
    app = await host.running(code_spec(tmp_path, "m", predict=slow))
    pid = host.pid(app)
    call = asyncio.create_task(host.predict(app, 5.0))
    await until(began.exists)

    await host.unload(app)

    assert (await host.observed(app)).condition is Condition.DELETING
    assert await call == [5.0]
    await host.reaches(app, Condition.ABSENT)
    assert has_ended(pid)


async def test_an_unload_during_the_load_ends_the_process(host: RealHost, tmp_path: Path) -> None:
    """Also one that hangs, with what it has started."""
    marker = tmp_path / "began"
    hang = f"import subprocess; print(subprocess.Popen(['sleep', '600']).pid, file=open({str(marker)!r}, 'w')); "
    await host.load(code_spec(tmp_path, "m", load=hang + "time.sleep(600)"))
    started = int(await until(lambda: marker.exists() and marker.read_text(encoding="utf-8").strip()))

    await host.unload("m:1")

    await host.reaches("m:1", Condition.ABSENT)
    assert pids_of("m:1", host.folder) == []
    await until(lambda: has_ended(started), "what the load had started is ended too")


async def test_loads_that_hang_do_not_keep_others_from_loading(
    host: RealHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A load has a core for some time, not for ever."""
    monkeypatch.setattr("deployments.hosting.load_slots.LONGEST_S", 0.2)
    for number in range(2 * usable_cpus()):
        await host.load(code_spec(tmp_path, f"hangs{number}", load="time.sleep(600)"))

    await host.running(code_spec(tmp_path, "m"))


async def test_a_version_that_is_loaded_again_while_it_ends_comes_back(host: RealHost, tmp_path: Path) -> None:
    """The watcher may change its mind before the last call has ended."""
    began = tmp_path / "began"
    slow = f"open({str(began)!r}, 'w').close(); time.sleep(0.5)"
    spec = code_spec(tmp_path, "m", predict=slow)
    app = await host.running(spec)
    before = host.pid(app)
    call = asyncio.create_task(host.predict(app, 5.0))
    await until(began.exists)

    await host.unload(app)
    await host.load(spec)

    assert await call == [5.0]
    await host.reaches(app, Condition.RUNNING)
    assert host.pid(app) != before


async def test_many_versions_at_once_all_run(host: RealHost, saved_models: Path) -> None:
    """They take turns on the cores."""
    apps = [f"m{number}:1" for number in range(24)]
    for app in apps:
        await host.load(half_plus_two_spec(saved_models, app.removesuffix(":1")))

    for app in apps:
        await host.reaches(app, Condition.RUNNING)

    assert await asyncio.gather(*(host.predict(app, 2.0) for app in apps)) == [[3.0]] * 24


async def test_each_child_counts_under_a_name_of_its_own(host: RealHost, saved_models: Path) -> None:
    """The sums of the cluster add what each process counted, once."""
    apps = [await host.running(half_plus_two_spec(saved_models, name)) for name in ("a", "b")]

    first, second = [from_bytes(await host.metrics(app)) for app in apps]

    assert first.process != second.process
    assert LOAD_ATTEMPT_COUNT.name in str(first)


async def test_a_version_that_is_not_there_is_unavailable(host: RealHost) -> None:
    """A router may know a version longer than its host."""
    code, text = await host.call("m:1", Method.REST_PREDICT, b"{}", 1.0)

    assert (code, text.decode()) == (Code.UNAVAILABLE, "m:1 is not on this host.")
    assert (await host.profile("m:1", RecordingOrder(1.0)))[0] == Code.UNAVAILABLE
    with pytest.raises(Unavailable):
        await host.metrics("m:1")
    await host.unload("m:1")


async def test_request_logs_follow_the_settings_that_routers_bring(host: RealHost, saved_models: Path) -> None:
    """As with replicas, running versions follow a changed configuration."""
    app = await host.running(half_plus_two_spec(saved_models))
    await host.endpoints({app: (LoggingConfig("json_lines", str(host.folder / "requests"), 1.0),)})
    await host.predict(app, 1.0)
    await host.unload(app)
    await host.reaches(app, Condition.ABSENT)

    (written,) = host.folder.glob("requests*")

    assert len(written.read_text(encoding="utf-8").splitlines()) == 1


async def test_a_version_can_be_profiled(host: RealHost, saved_models: Path) -> None:
    """The child records itself while it answers."""
    app = await host.running(half_plus_two_spec(saved_models))

    code, body = await host.profile(app, RecordingOrder(0.1))

    assert (code, "direct-transport" in body.decode()) == (Code.OK, True)


async def test_a_recording_of_a_version_is_ended_before_its_time(host: RealHost, saved_models: Path) -> None:
    """The child is told while it records; a key that it does not know ends nothing."""
    app = await host.running(half_plus_two_spec(saved_models))
    recording = asyncio.create_task(host.profile(app, RecordingOrder(60.0, key="mine")))

    while not recording.done():
        await host.end_profile(app, "yours")
        await host.end_profile(app, "mine")
        await asyncio.sleep(0.01)

    assert (await recording)[0] == Code.OK


async def test_a_batched_version_merges_requests_without_ray(host: RealHost, saved_models: Path) -> None:
    """Serve's batch queue is not in a child; batches are formed by the same rules."""
    parameters = BatchingParameters(8, 50_000, num_batch_threads=1)
    app = await host.running(half_plus_two_spec(saved_models, batching=parameters))

    answers = await asyncio.gather(*(host.predict(app, float(number)) for number in range(8)))

    assert answers == [[number / 2 + 2] for number in range(8)]
    assert "_raylet" not in Path(f"/proc/{host.pid(app)}/maps").read_text(encoding="utf-8")


async def test_resources_of_an_own_deployment_are_refused(host: RealHost, saved_models: Path) -> None:
    """A child has none; the watcher sees the reason at once."""
    spec = half_plus_two_spec(saved_models)
    assert spec.config is not None
    config = replace(spec.config, resources=ModelResources(num_gpus=1.0))

    with pytest.raises(ConfigError, match="num_gpus"):
        await host.load(replace(spec, config=config))

    assert await host.versions() == {}


async def test_the_spans_of_a_child_arrive_also_when_it_ends(host: RealHost, saved_models: Path) -> None:
    """The thread that sends them starts after the fork, and the end waits for it."""
    with SpanCollector() as collector:
        tracing = TracingSettings(otlp_endpoint=collector.url, sampling_rate=1.0)
        spec = half_plus_two_spec(saved_models)
        app = await host.running(replace(spec, settings=replace(spec.settings, tracing=tracing)))
        trace = TraceContext("a" * 32, "b" * 16)
        await host.call(app, Method.REST_PREDICT, b'{"instances": [1.0]}', 10.0, pack(trace))

        await host.unload(app)
        await host.reaches(app, Condition.ABSENT)

        spans = collector.trace("a" * 32)
    assert [one.parent_id for one in spans][:1] == ["b" * 16]
    assert len(spans) > 1


async def test_versions_of_every_light_platform_run_in_children(host: RealHost, tmp_path: Path) -> None:
    """Their libraries are opened after the fork."""
    paths = {"lite": LITE_MODELS / "named" / "1", "onnx": onnx_models.write(tmp_path / "1", onnx_models.identity())}
    specs = [ServableSpec(ServableId(name, 1), str(path)) for name, path in paths.items()]
    apps = [await host.running(one) for one in specs]

    assert [(await host.call(app, Method.REST_METADATA, b"", 10.0))[0] for app in apps] == [Code.OK] * 2
