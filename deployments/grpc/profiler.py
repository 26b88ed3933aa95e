"""TensorFlow's profiler service on the gRPC port: what TensorBoard's capture dialog and `tf.profiler` ask.

One recording runs at a time in each router. A client that goes ends it, and so does `Terminate`, whichever router is
asked.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from core.errors import Code, FailedPrecondition, ServingError
from core.profiling import profiler_messages as messages
from core.profiling.profile_request import ProfileForm, RecordingOrder
from core.profiling.watched_traffic import answered_requests, watched_text
from core.routing.table import Route, RoutingTable
from core.telemetry.metrics import Metrics
from deployments.grpc.services import GrpcAnswer, GrpcService
from deployments.routing.profile_call import EndRecording, Record, recorded
from deployments.telemetry.process_metrics import METRICS


@dataclass(slots=True)
class _Session:
    """The recording that runs, and whether someone has ended it."""

    name: str
    key: str = field(default_factory=lambda: uuid.uuid4().hex)
    ended: asyncio.Event = field(default_factory=asyncio.Event)


class ProfilerService:
    """Answers the calls of one router; `end_elsewhere` tells the other routers that a session is to end."""

    def __init__(
        self,
        table: Callable[[], RoutingTable],
        record: Record,
        end: EndRecording,
        end_elsewhere: Callable[[str], Awaitable[None]],
        metrics: Metrics = METRICS,
    ) -> None:
        self._table = table
        self._record = record
        self._end = end
        self._end_elsewhere = end_elsewhere
        self._metrics = metrics
        self._session: _Session | None = None
        self._ending: set[asyncio.Task[None]] = set()

    def service(self) -> GrpcService:
        """Return the service for the gRPC port."""
        answers = (self._profile, self._terminate, self._monitor)
        return GrpcService(messages.PROFILER_SERVICE, dict(zip(messages.PROFILER_METHODS, answers, strict=True)))

    async def _profile(self, raw: bytes, timeout_s: float | None) -> GrpcAnswer:
        del timeout_s
        request = messages.read_recording_request(raw)
        delay_s = request.delay_s(time.time())
        if self._session is not None:
            raise FailedPrecondition("Another profile is being recorded; try again when it has ended.")
        session = self._session = _Session(request.session)
        try:
            await asyncio.sleep(delay_s)
            routes, others = messages.recorded_routes(self._table(), answered_requests(self._metrics.snapshot()))
            order = RecordingOrder(request.seconds, ProfileForm.TENSORBOARD, session.key)
            versions, problems = await self._recorded(session, routes, order)
        finally:
            self._session = None
        if others:
            problems.append(f"{others} other versions answer, which were not recorded: there are too many.")
        body = messages.recording_answer(versions, problems, as_xspace=request.as_xspace)
        return GrpcAnswer(Code.OK, body=body)

    async def _recorded(
        self, session: _Session, routes: Sequence[Route], order: RecordingOrder
    ) -> tuple[list[messages.RecordedVersion], list[str]]:
        """Record versions; returns those that could be recorded, and why others could not. Raises if none could."""
        work = asyncio.gather(*(recorded(self._record, route, order) for route in routes), return_exceptions=True)
        watch = asyncio.create_task(self._end_early(session, routes))
        try:
            results = await work
        except asyncio.CancelledError:
            self._end_soon(session, routes)
            raise
        finally:
            watch.cancel()
        versions = [
            messages.RecordedVersion(route, result)
            for route, result in zip(routes, results, strict=True)
            if isinstance(result, bytes)
        ]
        failures = [
            (route, result) for route, result in zip(routes, results, strict=True) if isinstance(result, BaseException)
        ]
        if unexpected := [error for _, error in failures if not isinstance(error, ServingError)]:
            raise unexpected[0]
        if not versions:
            raise failures[0][1]
        return versions, [f"{route.app} was not recorded: {error}" for route, error in failures]

    async def _end_early(self, session: _Session, routes: Sequence[Route]) -> None:
        await session.ended.wait()
        self._end_soon(session, routes)

    def _end_soon(self, session: _Session, routes: Sequence[Route]) -> None:
        """End the recordings of all replicas, in tasks that outlive the call."""
        for route in routes:
            task = asyncio.get_running_loop().create_task(self._end(route, session.key))
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)

    async def _terminate(self, raw: bytes, timeout_s: float | None) -> GrpcAnswer:
        del timeout_s
        name = messages.read_ended_session(raw)
        if not self.end_session(name):
            await self._end_elsewhere(name)
        return GrpcAnswer(Code.OK, body=messages.terminate_answer())

    def end_session(self, name: str) -> bool:
        """End the session of this name before its time; False if it does not run in this router."""
        session = self._session
        if session is None or session.name != name:
            return False
        session.ended.set()
        return True

    async def _monitor(self, raw: bytes, timeout_s: float | None) -> GrpcAnswer:
        del timeout_s
        request = messages.read_watch_request(raw)
        before = self._metrics.snapshot()
        await asyncio.sleep(request.seconds)
        at = datetime.now(UTC).isoformat(timespec="seconds") if request.with_time else ""
        text = watched_text(before, self._metrics.snapshot(), request.seconds, at)
        return GrpcAnswer(Code.OK, body=messages.monitor_answer(text))
