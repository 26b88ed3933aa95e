"""A version at work in its process: loaded, warmed up, listening for routers, logging, and its orderly end.

Nothing here knows who started the process: a replica of Serve (`deployments.model_server`), or a version host of which
the process is a child (`deployments.hosting`).
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from core.config.model_config import LoggingConfig
from core.errors import Code, ServingError
from core.inference.light_model import state_changes
from core.profiling.profile_request import RecordingOrder
from core.routing.transport import Answer, Call, Endpoint, Method
from core.telemetry.metric_names import LOAD_ATTEMPT_COUNT, LOAD_LATENCY, LOAD_SECONDS, REPLICAS, RESIDENT_BYTES
from core.telemetry.spans import TracedProcess
from core.versions.load_report import LoadStep
from core.versions.servable import app_name
from core.versions.servable_spec import ServableSpec
from deployments.comparison.copy_runner import CopyRunner
from deployments.comparison.output_observer import OnOutputs, OutputObserver
from deployments.inference.answering import AnsweringAside
from deployments.inference.assembly import execution_of, files_on_node, load_failures, loaded_model, request_log_of
from deployments.inference.batcher import Through
from deployments.inference.call_traces import CallTraces, TracedCalls
from deployments.inference.direct_server import DirectServer
from deployments.inference.profiler import Profiler
from deployments.inference.run_watch import RunWatch
from deployments.inference.warm_up import warm_up
from deployments.runtime.signature_file import graph_operations
from deployments.system.event_loop import LoopThread
from deployments.system.process_tuning import settle
from deployments.telemetry.process_metrics import METRICS
from deployments.telemetry.tracing import tracer_of

log = logging.getLogger(__name__)

LAST_RECORDS_TIMEOUT_S = 3.0
"""How long the end waits for logs and spans; whoever ends the process waits a little longer than the drain time."""

LOOP_HANGS_AFTER_S = 10.0


@dataclass(frozen=True, slots=True)
class ServingPlace:
    """Where a version is served: the node's address and its id in Ray, and what tells the process from others."""

    host: str
    node: str
    replica: str


class ServedVersion:
    """One version that answers calls; the constructor loads it, and raises LoadFailed."""

    def __init__(self, spec: ServableSpec, place: ServingPlace, through: Through) -> None:
        log.info("version_loading model=%s version=%d", spec.servable.name, spec.servable.version)
        self._place = place
        self._files = files_on_node(spec)
        self._spec = spec = replace(spec, path=self._files.path)
        began = time.monotonic()
        self._loaded = loaded_model(spec)
        load_s = time.monotonic() - began
        _count_load(spec, load_s)
        self._profiler = Profiler(self._loaded, {"version": app_name(spec.servable), "replica": place.replica})
        self._tracer = tracer_of(spec.settings.tracing, TracedProcess("model", place.replica))
        traces = CallTraces(self._tracer, spec.servable) if self._tracer else None
        self._execution = execution_of(self._loaded, spec, traces, through)
        self._calls = self._execution if traces is None else TracedCalls(self._execution, traces)
        self._loop = LoopThread("direct-transport")
        self._other_calls = 0
        self._warm_up()
        self._request_log = request_log_of(spec, self._loaded, place.replica)
        self._log_requests(spec.config.logging if spec.config is not None else ())
        self.address = self._open_direct_transport()
        METRICS.before_snapshot(self._set_gauges)
        settle()
        log.info("version_loaded model=%s version=%d load_s=%.3f", spec.servable.name, spec.servable.version, load_s)

    def _warm_up(self) -> None:
        """Answer the version's own requests first; one that fails is a failed load."""
        loading = self._spec.settings.loading
        if not loading.warm_up:
            return
        with load_failures(LoadStep.WARM_UP):
            warm_up(self._spec.servable, self._spec.path, self._answer, loading.warm_up_iterations)

    def _answer(self, call: Call) -> Answer:
        return self._loop.run(self._execution.call(call)).result()

    def _open_direct_transport(self) -> Endpoint:
        token = secrets.token_bytes(16)
        place, config, answers = self._place, self._spec.config, self._spec.settings.answers
        self._direct = DirectServer(self._calls, token)
        self._direct.copies = self._copies = CopyRunner(
            AnsweringAside(self._loaded.inner if isinstance(self._loaded, RunWatch) else self._loaded, answers),
            lambda: any(peer.open for peer in self._direct.peers),
            warn=self._warn_of_changes,
        )
        observer = OutputObserver(self._loaded.served, self._observe)
        self._direct.beside[Method.OBSERVE] = observer.answer
        port, has_loopback = self._loop.run(self._direct.open(place.host)).result()
        is_scaled = config is not None and config.resources.autoscaling is not None
        runs_by = self._loaded.served.runs_by
        return Endpoint(place.host, port, token, place.replica, place.node, has_loopback, is_scaled, runs_by=runs_by)

    def _observe(self, on_outputs: OnOutputs | None) -> None:
        self._execution.answering.on_outputs = on_outputs

    def _warn_of_changes(self) -> None:
        """Log that copies of requests may change what this version answers, before the first of them."""
        changes = state_changes(graph_operations(Path(self._spec.path)))
        if changes:
            servable = self._spec.servable
            log.warning(
                "mirror_may_change_state model=%s version=%d operations=%s",
                servable.name,
                servable.version,
                ",".join(changes),
            )

    def endpoint(self, logs: tuple[LoggingConfig, ...]) -> Endpoint:
        """Return where the direct transport listens and how runs went, and take over the settings of request logs."""
        self._log_requests(logs)
        return replace(self.address, health=self._execution.answering.health)

    def _log_requests(self, logs: tuple[LoggingConfig, ...]) -> None:
        """Follow a configuration of request logs; without one, answering costs nothing more."""
        self._request_log.configure(logs)
        self._execution.answering.on_answer = self._request_log.record if self._request_log.is_on else None

    @property
    def open_calls(self) -> float:
        """Calls that all routers together have open here, and those over other ways."""
        return self._direct.open_calls + self._other_calls

    async def call(self, call: Call) -> Answer:
        """Answer a call that did not come over the direct transport; awaited on any event loop."""
        return await asyncio.wrap_future(self._loop.run(self._counted(call)))

    async def _counted(self, call: Call) -> Answer:
        self._other_calls += 1
        try:
            return await self._calls.call(call)
        finally:
            self._other_calls -= 1

    def profile(self, order: RecordingOrder) -> tuple[int, bytes]:
        """Record this process in this thread; returns the file, or a code with its text."""
        try:
            return Code.OK, self._profiler.record(order)
        except ServingError as error:
            return int(error.code), str(error).encode()

    def end_profile(self, key: str) -> None:
        """End a recording before its time; its file has what was recorded so far."""
        self._profiler.end(key)

    def _set_gauges(self) -> None:
        """Set the gauges of this process before they are reported."""
        labels = (self._spec.servable.name, str(self._spec.servable.version))
        METRICS.set(REPLICAS, *labels, to=1)
        METRICS.set(RESIDENT_BYTES, *labels, to=resident_bytes())

    async def check_health(self) -> None:
        """Raise when the event loop of the direct transport hangs, or every thread that runs the model."""
        await self._loop.ping(LOOP_HANGS_AFTER_S)
        if isinstance(self._loaded, RunWatch):
            self._loaded.check()

    async def end(self) -> None:
        """Announce the end to the routers, finish calls in work, free the model."""
        drain_s = self._spec.config.resources.drain_timeout_s if self._spec.config is not None else 30.0
        await asyncio.wrap_future(self._loop.run(self._direct.drain(drain_s)))
        self._execution.close()
        self._copies.close()
        self._loop.stop()
        await asyncio.gather(*(asyncio.to_thread(close, LAST_RECORDS_TIMEOUT_S) for close in self._closing()))
        self._files.release()

    def _closing(self) -> Iterator[Callable[[float], object]]:
        """Yield the functions that write the last records and let a model's own code end."""
        yield self._request_log.close
        if isinstance(self._loaded, RunWatch):
            yield self._loaded.close_within
        if self._tracer is not None:
            yield self._tracer.close


def _count_load(spec: ServableSpec, load_s: float) -> None:
    """Count a load that succeeded; the watcher counts failed ones, whose processes end."""
    METRICS.observe(LOAD_SECONDS, spec.servable.name, value=load_s)
    METRICS.count(LOAD_ATTEMPT_COUNT, spec.path, "success")
    METRICS.count(LOAD_LATENCY, spec.path, by=int(load_s * 1e6))


def resident_bytes() -> int:
    """Return this process's resident memory in bytes."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
