"""What Serve's controller says of applications, by the cheapest of the questions that it answers, asked when needed.

`serve.status()` builds and validates every option of every deployment: 5 ms of the caller's processor time and 0.5 ms
of the controller's for each application, against 20 µs of both here. These are the questions that Serve's own client
asks when it waits for applications, and what its handles wait for; none of them has a public name.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from typing import Any, cast

import ray
from ray.exceptions import GetTimeoutError
from ray.serve._private.application_state import StatusOverview
from ray.serve._private.common import DeploymentID, ReplicaState
from ray.serve._private.long_poll import LongPollNamespace
from ray.serve.context import _get_global_client
from ray.serve.generated import serve_pb2
from ray.serve.schema import ApplicationStatus, ApplicationStatusOverview, DeploymentStatusOverview

from core.versions.hosted import HOST_DEPLOYMENT
from core.versions.servable import DEPLOYMENT
from core.versions.world import AppObservation
from deployments.telemetry.repeated_failure_log import RepeatedFailureLog

FOLLOWED = (DEPLOYMENT, HOST_DEPLOYMENT)
COUNTS_TIMEOUT_S = 2.0
AGAIN_AFTER_S = 1.0
"""Pause after the controller did not answer."""

TOGETHER_S = 0.05
"""Changes within this time are told as one."""

REST_LOOK_S = 10.0
"""All are looked at after this time although nothing is known to have changed."""

Apps = Mapping[str, AppObservation]


class ServeStatus:
    """Asks the controller; remembers how many replicas run, so that only changes are sent."""

    def __init__(self) -> None:
        self._known: dict[DeploymentID, int] = {}
        self._running: dict[DeploymentID, int] = {}
        self._heard = dict.fromkeys(FOLLOWED, -1)
        self._failures = RepeatedFailureLog("serve_not_followed", "serve_followed_again")

    def of_all(self) -> Mapping[str, ApplicationStatusOverview]:
        """Return all applications by name; none while Serve does not run."""
        client = _get_global_client(raise_if_no_controller_running=False)
        if client is None:
            return {}
        seen = {one.name: one for one in client.list_serve_statuses()}
        self._count(client._controller, seen.values())  # noqa: SLF001 - has no public name
        return {name: self._overview(one) for name, one in seen.items()}

    def of(self, apps: Collection[str]) -> Mapping[str, ApplicationStatusOverview]:
        """Return some applications by name, without those that do not exist; replicas are counted by `of_all` only."""
        client = _get_global_client(raise_if_no_controller_running=False)
        if client is None or not apps:
            return {}
        asked = client._controller.get_serve_statuses.remote(list(apps))  # noqa: SLF001
        seen = [_status(one) for one in cast("list[bytes]", ray.get(asked))]
        there = (one for one in seen if one.app_status.status is not ApplicationStatus.NOT_STARTED)
        return {one.name: self._overview(one) for one in there}

    def _count(self, controller: Any, seen: Collection[StatusOverview]) -> None:
        """Ask for the numbers of running replicas that have changed; those known stay while there is no answer.

        One key that counts as changed is among those asked for, because the controller answers when one has changed.
        """
        ids = [DeploymentID(one.name, app.name) for app in seen for one in app.deployment_statuses]
        self._known = {one: self._known[one] for one in ids if one in self._known}
        keys = {(LongPollNamespace.DEPLOYMENT_TARGETS, one): self._known.get(one, -1) for one in ids}
        asked: dict[Any, int] = {LongPollNamespace.GLOBAL_LOGGING_CONFIG: -1, **keys}
        with suppress(GetTimeoutError):
            answer: Any = ray.get(controller.listen_for_change.remote(asked), timeout=COUNTS_TIMEOUT_S)
            for key, changed in answer.items():
                if key in keys:
                    self._known[key[1]] = changed.snapshot_id
                    self._running[key[1]] = len(changed.object_snapshot.running_replicas)
        self._running = {one: self._running.get(one, 0) for one in ids}

    def _overview(self, seen: StatusOverview) -> ApplicationStatusOverview:
        deployments = {
            one.name: DeploymentStatusOverview(
                one.status,
                one.status_trigger,
                {ReplicaState.RUNNING: self._running.get(DeploymentID(one.name, seen.name), 0)},
                one.message,
            )
            for one in seen.deployment_statuses
        }
        app = seen.app_status
        return ApplicationStatusOverview(app.status, app.message, app.deployment_timestamp, deployments)

    async def follow(self, on_change: Callable[[], None]) -> None:
        """Call `on_change` whenever something may have changed, without end; each second while nothing can be heard."""
        while True:
            try:
                await self.changed()
                self._failures.went_well(time.monotonic())
            except Exception as error:  # noqa: BLE001 - what is asked has no public name, so another Ray may lack it
                self._failures.failed(time.monotonic(), error)
                await asyncio.sleep(AGAIN_AFTER_S)
            on_change()

    async def changed(self) -> None:
        """Return when replicas of a version have come or gone, or a version was submitted or deleted.

        The controller tells it under the bare name of the deployment, which is the same in every application. Without
        an answer of the controller, that counts as a change.
        """
        while True:
            keys = {(LongPollNamespace.DEPLOYMENT_TARGETS, name): heard for name, heard in self._heard.items()}
            client = _get_global_client(raise_if_no_controller_running=False)
            if client is None:
                await asyncio.sleep(AGAIN_AFTER_S)
                return
            answer = await client._controller.listen_for_change.remote(keys)  # noqa: SLF001
            if isinstance(answer, dict):
                self._heard |= {key[1]: one.snapshot_id for key, one in answer.items()}
                await asyncio.sleep(TOGETHER_S)
                return


def _status(raw: bytes) -> StatusOverview:
    # The generated messages have no types.
    return StatusOverview.from_proto(serve_pb2.StatusOverview.FromString(raw))  # type: ignore[attr-defined]


class ObservedApps:
    """Asks `of_all` when something has changed or the last look is old, and `of` for what moves meanwhile."""

    def __init__(self, of_all: Callable[[], Apps], of: Callable[[Collection[str]], Apps]) -> None:
        self._of_all = of_all
        self._of = of
        self._apps: Apps = {}
        self._due_s = 0.0
        self._has_changed = threading.Event()
        self._has_changed.set()

    def note_change(self) -> None:
        """Let the next look be at all applications; callable from any thread."""
        self._has_changed.set()

    def look(self, moving: Collection[str] | None, now_s: float) -> Apps:
        """Return all applications; those in `moving` as they are now, or all of them for None."""
        if moving is None or now_s >= self._due_s or self._has_changed.is_set():
            self._look_at_all(now_s)
        elif moving:
            seen = self._of(moving)
            others = {app: one for app, one in self._apps.items() if app not in moving}
            if {**others, **seen} != self._apps:
                self._apps = {**others, **seen}
                self._has_changed.set()  # how many replicas run is known only after a look at all
        return self._apps

    def _look_at_all(self, now_s: float) -> None:
        self._has_changed.clear()  # before the look: what changes during it is seen by the next one
        try:
            self._apps = self._of_all()
        except BaseException:
            self._has_changed.set()
            raise
        self._due_s = now_s + REST_LOOK_S
