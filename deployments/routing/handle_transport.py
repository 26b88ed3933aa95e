"""Calls over Serve's handles: work without any connection, some milliseconds slower than a direct one."""

from __future__ import annotations

import asyncio
from typing import Any

from ray.exceptions import RayActorError, RayTaskError
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError, RayServeException
from ray.serve.handle import DeploymentHandle

from core.errors import Code, DeadlineExceeded, ServerFull, Unavailable
from core.routing.call_trailer import packed_trailer
from core.routing.table import Route
from core.routing.transport import TIMED_OUT, Answer, Call
from core.telemetry.metric_names import FULL, REFUSED_REQUESTS
from core.versions.hosted import HOST_DEPLOYMENT
from core.versions.servable import DEPLOYMENT
from deployments.telemetry.process_metrics import METRICS

LONGEST_HANDLE_CALL_S = 120.0
"""A handle call without a deadline of its own ends here: calls to an application that goes away would hang."""


class HandleTransport:
    """One handle for each application, kept between calls; hosted versions are called by that of their host."""

    def __init__(self) -> None:
        self._handles: dict[str, DeploymentHandle] = {}

    def handle(self, app: str) -> DeploymentHandle:
        """Return the handle of a version's application, the same one each time."""
        return self._handle(DEPLOYMENT, app)

    def host(self, app: str) -> DeploymentHandle:
        """Return the handle of a host application, the same one each time."""
        return self._handle(HOST_DEPLOYMENT, app)

    def _handle(self, deployment: str, app: str) -> DeploymentHandle:
        if app not in self._handles:
            self._handles[app] = DeploymentHandle(deployment, app)
        return self._handles[app]

    async def forget(self, app: str) -> None:
        """Drop the handle of an application that is gone."""
        handle = self._handles.pop(app, None)
        if handle is not None:
            await handle.shutdown_async()

    async def call(self, route: Route, call: Call) -> Answer:
        """Call one replica, which Serve chooses.

        Raises DeadlineExceeded and Unavailable.
        """
        timeout_s = LONGEST_HANDLE_CALL_S if call.timeout_s is None else call.timeout_s
        response = self._sent(route, call)
        try:
            code, body = await asyncio.wait_for(response, timeout_s)
        except TimeoutError:
            raise DeadlineExceeded(TIMED_OUT) from None
        except BackPressureError as error:
            METRICS.count(REFUSED_REQUESTS, route.servable.name, FULL)
            raise ServerFull(f"The queue of {route.servable} is full: {error}") from error
        except (RayActorError, DeploymentUnavailableError, RayServeException) as error:
            raise Unavailable(f"No replica of {route.servable} could answer: {error}") from error
        except RayTaskError as error:
            raise Unavailable(f"A replica of {route.servable} failed: {error.cause}") from error
        return Answer(Code(code), body)

    def _sent(self, route: Route, call: Call) -> Any:
        arguments = (int(call.method), call.body, call.timeout_s)
        trailer = packed_trailer(call)
        trace = (trailer,) if trailer else ()
        if route.host:
            return self.host(route.host).call.remote(route.app, *arguments, *trace)
        return self.handle(route.app).call.remote(*arguments, *trace)
