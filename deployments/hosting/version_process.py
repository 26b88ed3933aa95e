"""One hosted version at its host: its process is forked, loads, runs, is forked again when it has crashed, and ends."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from core.config.model_config import LoggingConfig
from core.errors import DeadlineExceeded, ServingError, Unavailable
from core.profiling.profile_request import RecordingOrder
from core.routing.transport import TIMED_OUT, Answer, Call, Endpoint
from core.telemetry.tracing_plan import tracing_plan
from core.versions.restarts import crashes_after, ending_text, restart_delay_s
from core.versions.servable import app_name
from core.versions.servable_spec import ServableSpec
from core.versions.world import AppObservation, Condition
from deployments.hosting.child_link import ChildLink
from deployments.hosting.child_watch import watched_until_ended
from deployments.hosting.load_slots import LoadSlots
from deployments.hosting.messages import Ask, ChildState, ForkOrder, LoadOrder
from deployments.hosting.zygote_process import ForkFailed, ZygoteProcess
from deployments.inference.served_version import LAST_RECORDS_TIMEOUT_S, ServingPlace
from deployments.routing.awaited_call import call_over
from deployments.routing.replica_set import ReplicaSet
from deployments.storage.store_opening import S3_SCHEMES

log = logging.getLogger(__name__)

SPEAKS_WITHIN_S: Final = 30.0
"""A process that has said nothing so long after its fork hangs."""

ENDPOINT_WITHIN_S: Final = 1.0
"""Routers ask for all versions of the host at once, and wait a few seconds: one that hangs must not hide the others."""

ANSWERS_WITHIN_S: Final = 5.0
ENDED_WITHIN_S: Final = 2.0
STATUS_WITHIN_S: Final = 1.0
PROFILE_EXTRA_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class HostNode:
    """What the processes of a host have in common: its application, the node, and two folders of the node.

    `sockets` is for nobody but this user. When the process `guardian` ends, all end.
    """

    app: str
    host: str
    node: str
    logs: str
    sockets: Path
    guardian: int


@dataclass(frozen=True, slots=True)
class Origin:
    """Where the processes of a host come from."""

    node: HostNode
    zygote: ZygoteProcess
    slots: LoadSlots


class VersionProcess:
    """A version that is to run until `unload`; `gone` is called when it has ended, or belongs to another host."""

    def __init__(self, spec: ServableSpec, origin: Origin, gone: Callable[[VersionProcess], None]) -> None:
        self.spec = spec
        self.again: ServableSpec | None = None
        """What is to be loaded under the same name once this has ended."""
        self._node = origin.node
        self._zygote = origin.zygote
        self._slots = origin.slots
        self._gone = gone
        self._condition = Condition.DEPLOYING
        self._message = ""
        self._ordered_s = time.time()
        self._crashes = 0
        self._link: ChildLink | None = None
        self._endpoint: Endpoint | None = None
        self._connections = ReplicaSet(origin.node.node)
        self._connecting = asyncio.Lock()
        self._has_settled = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def app(self) -> str:
        """The name under which the version is known."""
        return app_name(self.spec.servable)

    @property
    def condition(self) -> Condition:
        """The condition, as Serve would say it."""
        return self._condition

    @property
    def observation(self) -> AppObservation:
        """The version as Serve's status would show it."""
        replicas = int(self._condition is Condition.RUNNING)
        return AppObservation(self._condition, self._message, replicas, self._ordered_s, self._node.app)

    def begin(self, adopted: ChildLink | None = None) -> None:
        """Keep the version running from now on, beginning with a child that a former host has left."""
        if adopted is not None and adopted.state.order is not None:
            self._ordered_s = adopted.state.order.ordered_s
        self._task = asyncio.get_running_loop().create_task(self._keep_running(adopted))

    def unload(self) -> None:
        """Let the version finish its calls and end; `gone` is called when it has."""
        if self._condition is Condition.DELETING:
            return
        self._condition, self._message = Condition.DELETING, ""
        self._has_settled.set()
        running = self._task
        if running is not None:
            running.cancel()
        self._task = asyncio.get_running_loop().create_task(self._end(running))

    async def _keep_running(self, link: ChildLink | None) -> None:
        """Run until that fails, for whatever reason: otherwise the version would be deployed for ever."""
        try:
            await self._run(link)
        except Exception as error:
            log.exception("version_given_up app=%s", self.app)
            self._condition = Condition.FAILED
            self._message = f"The host of the version could not keep it running: {type(error).__name__}: {error}"
            self._has_settled.set()
            link, self._link, self._endpoint = self._link, None, None
            if link is not None:
                link.kill()
                self._zygote.forget(link.state.pid)

    async def _run(self, link: ChildLink | None) -> None:
        while True:
            if link is None:
                link = await self._loaded()
            if link is None:
                self._condition = Condition.FAILED
                self._has_settled.set()
                return
            self._link, self._endpoint = link, link.state.endpoint
            self._condition = Condition.RUNNING
            self._has_settled.set()
            began_s = time.monotonic()
            await watched_until_ended(link, self.app)
            if link.is_taken:
                self._gone(self)
                return
            self._condition, self._link, self._endpoint = Condition.DEPLOYING, None, None
            self._has_settled.clear()
            self._crashes = crashes_after(self._crashes, time.monotonic() - began_s)
            log.warning("version_crashed app=%s times=%d error=%r", self.app, self._crashes, await self._ending(link))
            link = None
            await asyncio.sleep(restart_delay_s(self._crashes))

    async def _loaded(self) -> ChildLink | None:
        """Return a child that has loaded the version; None when that failed, and why is the message."""
        async with self._slots.one():
            try:
                link = self._link = await self._forked()
            except (ServingError, EOFError, OSError) as error:
                self._message = f"The process of the version could not be started: {error}"
                return None
            place = ServingPlace(self._node.host, self._node.node, secrets.token_hex(4))
            state = await link.load(LoadOrder(self.spec, place, self._node.logs, self._ordered_s))
        if state.endpoint is not None:
            return link
        await self._ended(link)
        ending = await self._ending(link)
        self._message = state.failure or ending
        return None

    async def _forked(self) -> ChildLink:
        path = str(self._node.sockets / secrets.token_hex(4))
        title = f"ray_model_server hosted {self.app}"
        pid = await self._zygote.fork(ForkOrder(path, title, shared_modules(self.spec)))
        try:
            async with asyncio.timeout(SPEAKS_WITHIN_S):
                return await ChildLink.to(path)
        except BaseException as error:  # also when the version is unloaded meanwhile
            await self._zygote.kill(pid, path)
            if isinstance(error, TimeoutError):
                raise ForkFailed(f"it has said nothing for {SPEAKS_WITHIN_S:.0f} seconds") from None
            raise

    async def _ending(self, link: ChildLink) -> str:
        """Return how a child ended."""
        try:
            return ending_text(await self._zygote.status_of(link.state.pid, STATUS_WITHIN_S))
        finally:
            self._zygote.forget(link.state.pid)

    async def _ended(self, link: ChildLink, timeout_s: float = ENDED_WITHIN_S) -> None:
        """Wait until a child has ended that is about to, and its memory is back; one that takes too long is killed."""
        await link.ended(timeout_s)
        link.kill()
        await link.ended()
        await self._zygote.status_of(link.state.pid, STATUS_WITHIN_S)

    async def _end(self, running: asyncio.Task[None] | None) -> None:
        try:
            if running is not None:
                await asyncio.wait([running])
            await self._drained()
        except Exception:
            log.exception("version_end_failed app=%s", self.app)
        self._connections.retire()
        self._gone(self)

    async def _drained(self) -> None:
        """Let the process of the version finish its calls, and wait for its end."""
        link = self._link
        if link is not None:
            link.end()
            drain_s = self.spec.config.resources.drain_timeout_s if self.spec.config is not None else 30.0
            await self._ended(link, ENDED_WITHIN_S + (drain_s + LAST_RECORDS_TIMEOUT_S if self._endpoint else 0.0))
            self._zygote.forget(link.state.pid)

    async def endpoint(self, logs: tuple[LoggingConfig, ...]) -> Endpoint | None:
        """Return where the version listens and how its runs went; None while it does not run.

        A child that does not answer soon is where it was.
        """
        link = self._link
        if link is None or self._condition is not Condition.RUNNING:
            return None
        try:
            self._endpoint = await link.ask(Ask.ENDPOINT, logs, timeout_s=ENDPOINT_WITHIN_S)
        except TimeoutError:
            log.info("endpoint_unknown app=%s", self.app)
        except Unavailable:
            return None
        return self._endpoint

    async def call(self, call: Call) -> Answer:
        """Let the version answer a call; raises Unavailable and DeadlineExceeded.

        While a process is being started, the call waits for it, as Serve lets calls wait for a replica. The wait is
        taken off the caller's time.
        """
        began_s = time.monotonic()
        try:
            async with asyncio.timeout(call.timeout_s):
                await self._has_settled.wait()
        except TimeoutError:
            raise DeadlineExceeded(TIMED_OUT) from None
        async with self._connecting:
            connection = self._connections.choose()
            if connection is None and self._endpoint is not None:
                await self._connections.update((self._endpoint,))
                connection = self._connections.choose()
        if connection is None or self._condition is not Condition.RUNNING:
            raise Unavailable(f"{self.app} does not run at present.")
        if call.timeout_s is not None:
            left_s = call.timeout_s - (time.monotonic() - began_s)
            if left_s <= 0.0:
                raise DeadlineExceeded(TIMED_OUT)
            call = call._replace(timeout_s=left_s)
        return await call_over(connection, call, self.spec.servable.name)

    async def profile(self, order: RecordingOrder) -> tuple[int, bytes]:
        """Record the version's process; raises Unavailable and TimeoutError."""
        timeout_s = order.seconds + PROFILE_EXTRA_S
        answer: tuple[int, bytes] = await self._running.ask(Ask.PROFILE, order, timeout_s=timeout_s)
        return answer

    async def end_profile(self, key: str) -> None:
        """End a recording before its time; raises Unavailable and TimeoutError."""
        await self._running.ask(Ask.END_PROFILE, key, timeout_s=ANSWERS_WITHIN_S)

    async def metrics(self) -> bytes:
        """Return what the version's process has counted; raises Unavailable and TimeoutError."""
        report: Any = await self._running.ask(Ask.METRICS, timeout_s=ANSWERS_WITHIN_S)
        return bytes(report)

    @property
    def _running(self) -> ChildLink:
        if self._link is None or self._endpoint is None:
            raise Unavailable(f"{self.app} does not run at present.")
        return self._link


def shared_modules(spec: ServableSpec) -> tuple[str, ...]:
    """Return the large modules that only some versions need, and whose import starts no thread."""
    found = []
    if tracing_plan(spec.settings.tracing) is not None:
        found.append("deployments.telemetry.span_export")
    if spec.path.startswith(S3_SCHEMES):
        found.append("s3fs")
    return tuple(found)


def left_behind(state: ChildState, release: str) -> LoadOrder | None:
    """Return what a child serves that a former host has left; None for one that is of no use to this program."""
    if state.release != release or state.endpoint is None:
        return None
    return state.order
