"""All versions of a node's host: what the watcher and the routers ask of them; without Ray."""

from __future__ import annotations

import asyncio
import logging
import os
import stat
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from core.config.model_config import LoggingConfig
from core.errors import Code, ConfigError, FailedPrecondition, Problem, ServingError, Unavailable
from core.profiling.profile_request import RecordingOrder
from core.routing.call_trailer import unpacked_trailer
from core.routing.transport import Call, Endpoint, Method
from core.versions.servable import app_name
from core.versions.servable_spec import ServableSpec
from core.versions.world import AppObservation, Condition
from deployments.container.cpus import usable_cpus
from deployments.hosting.child_link import ChildLink
from deployments.hosting.load_slots import LoadSlots
from deployments.hosting.version_process import HostNode, Origin, VersionProcess, left_behind
from deployments.hosting.zygote_process import ZygoteProcess
from deployments.system.installed import server_version

log = logging.getLogger(__name__)

ADOPTED_WITHIN_S = 5.0


class VersionProcesses:
    """The versions by application name; implements `deployments.hosting.host.VersionHosting` on one event loop."""

    def __init__(self, node: HostNode) -> None:
        self._node = node
        self._zygote = ZygoteProcess(node.guardian)
        self._origin = Origin(node, self._zygote, LoadSlots(usable_cpus()))
        self._versions: dict[str, VersionProcess] = {}
        self._adoption: asyncio.Task[None] | None = None
        self._is_closing = False

    async def load(self, spec: ServableSpec) -> None:
        """Begin to load a version and return at once; nothing happens to one that is loading or runs.

        Raises ConfigError for what no child can have.
        """
        refused = () if spec.config is None else spec.config.resources.of_an_own_deployment
        if refused:
            raise ConfigError((Problem(f"a hosted version cannot have {', '.join(refused)}"),))
        await self._ready()
        if self._is_closing:
            raise Unavailable("This host ends.")
        known = self._versions.get(app_name(spec.servable))
        if known is None or known.condition is Condition.FAILED:
            self._begin(spec)
        elif known.condition is Condition.DELETING:
            known.again = spec

    def _begin(self, spec: ServableSpec, adopted: ChildLink | None = None) -> None:
        version = VersionProcess(spec, self._origin, self._gone)
        self._versions[version.app] = version
        version.begin(adopted)

    async def unload(self, app: str) -> None:
        """Let a version finish its calls and end, and return at once; a failed one is forgotten."""
        await self._ready()
        version = self._versions.get(app)
        if version is None:
            return
        version.again = None
        if version.condition is Condition.FAILED:
            del self._versions[app]
        else:
            version.unload()

    def _gone(self, version: VersionProcess) -> None:
        self._versions.pop(version.app, None)
        if version.again is not None:
            self._begin(version.again)

    async def versions(self) -> Mapping[str, AppObservation]:
        """Return every version by application name, as Serve's status would show it."""
        await self._ready()
        return {app: version.observation for app, version in self._versions.items()}

    async def endpoints(self, logs: Mapping[str, tuple[LoggingConfig, ...]]) -> Mapping[str, Endpoint]:
        """Return where each running version listens and how its runs went, and hand its request log settings to it."""
        await self._ready()
        versions = tuple(self._versions.items())
        found = await asyncio.gather(*(version.endpoint(logs.get(app, ())) for app, version in versions))
        return {app: endpoint for (app, _), endpoint in zip(versions, found, strict=True) if endpoint is not None}

    async def call(
        self, app: str, method: int, body: bytes, timeout_s: float | None, trace: bytes = b""
    ) -> tuple[int, bytes]:
        """Answer a call that came through a Serve handle."""
        await self._ready()
        parent, headers = unpacked_trailer(trace)
        call = Call(Method(method), body, timeout_s, parent, headers=headers)
        try:
            answer = await self._version(app).call(call)
        except ServingError as error:
            return int(error.code), str(error).encode()
        return int(answer.code), bytes(answer.body)

    async def profile(self, app: str, order: RecordingOrder) -> tuple[int, bytes]:
        """Record a version's process; returns the file, or a code with its text."""
        await self._ready()
        try:
            return await self._version(app).profile(order)
        except ServingError as error:
            return int(error.code), str(error).encode()
        except TimeoutError:
            return int(Code.DEADLINE_EXCEEDED), b"The process of the version does not answer."

    async def end_profile(self, app: str, key: str) -> None:
        """End a recording of a version's process before its time; raises Unavailable and TimeoutError."""
        await self._ready()
        await self._version(app).end_profile(key)

    async def metrics(self, app: str) -> bytes:
        """Return what a version's process has counted; raises Unavailable."""
        await self._ready()
        try:
            return await self._version(app).metrics()
        except TimeoutError:
            raise Unavailable(f"The process of {app} does not answer.") from None

    def _version(self, app: str) -> VersionProcess:
        try:
            return self._versions[app]
        except KeyError:
            raise Unavailable(f"{app} is not on this host.") from None

    async def close(self) -> None:
        """Let all versions finish their calls and end."""
        await self._ready()
        self._is_closing = True
        for app in tuple(self._versions):
            await self.unload(app)
        while self._versions:
            await asyncio.sleep(0.05)
        await self._zygote.close()

    async def _ready(self) -> None:
        """Take over the children that a former host has left; once."""
        failed = self._adoption is not None and self._adoption.done() and self._adoption.exception() is not None
        if self._adoption is None or failed:
            self._adoption = asyncio.get_running_loop().create_task(self._adopt())
        await asyncio.shield(self._adoption)

    async def _adopt(self) -> None:
        _own_folder(self._node.sockets)
        paths = [str(one) for one in self._node.sockets.iterdir()]
        for link in await asyncio.gather(*map(_link_to, paths)):
            if link is not None:
                self._take_over(link)
        with suppress(OSError):  # the first fork tries again, and has somebody to tell
            await self._zygote.start()

    def _take_over(self, link: ChildLink) -> None:
        order = left_behind(link.state, server_version())
        if order is None or app_name(order.spec.servable) in self._versions:
            link.end()
            return
        log.info("version_adopted app=%s pid=%d", app_name(order.spec.servable), link.state.pid)
        self._begin(order.spec, link)


def _own_folder(folder: Path) -> None:
    """Make a folder that nobody else may enter; raises FailedPrecondition where another user was faster."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    seen = folder.lstat()
    if not stat.S_ISDIR(seen.st_mode) or seen.st_uid != os.getuid() or seen.st_mode & 0o077:
        raise FailedPrecondition(f"{folder} is not for this user alone")


async def _link_to(path: str) -> ChildLink | None:
    """Connect to the child of a path; a path that nobody listens on is removed."""
    try:
        return await asyncio.wait_for(ChildLink.to(path), ADOPTED_WITHIN_S)
    except Exception as error:  # noqa: BLE001 - what a child of another release says may be anything
        log.info("child_not_adopted path=%s error=%r", path, f"{type(error).__name__}: {error}")
        if isinstance(error, ConnectionRefusedError):
            with suppress(OSError):
                os.unlink(path)
    return None
