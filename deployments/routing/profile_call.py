"""Records versions for a router, over Serve's handles, and answers profile requests of the Admin service."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from ray.serve.handle import DeploymentHandle

from core.admin.messages import profile_answer, read_profile_request
from core.errors import Code, RuntimeFailure, Unavailable
from core.profiling.profile_request import RecordingOrder, profiled_route
from core.routing.table import Route, RoutingTable
from core.versions.hosted import HOST_DEPLOYMENT
from core.versions.servable import DEPLOYMENT
from deployments.telemetry.serve_failures import SERVE_FAILURES, brief

log = logging.getLogger(__name__)

EXTRA_TIME_S = 30.0
"""How long writing and sending the profile may take after it was recorded."""

END_TIMEOUT_S = 10.0


Record = Callable[[Route, RecordingOrder], Awaitable[tuple[int, bytes]]]
"""Records a replica of a version: `ModelServer.profile`."""

EndRecording = Callable[[Route, str], Coroutine[Any, Any, None]]
"""Ends a recording of a version before its time, by its key: `ModelServer.end_profile`."""


async def answer_profile(table: Callable[[], RoutingTable], record: Record, raw: bytes) -> bytes:
    """Answer `Profile` of the Admin service; raises ServingError."""
    request = read_profile_request(raw)
    route = profiled_route(table(), request)
    return profile_answer(await recorded(record, route, RecordingOrder(request.seconds)), route.servable.version)


async def recorded(record: Record, route: Route, order: RecordingOrder) -> bytes:
    """Return the file of a recording; raises ServingError."""
    try:
        code, body = await asyncio.wait_for(record(route, order), order.seconds + EXTRA_TIME_S)
    except SERVE_FAILURES as error:
        raise Unavailable(f"No replica of {route.app} could be recorded: {error}") from error
    if code:
        raise RuntimeFailure(Code(code), body.decode())
    return body


async def record_over_handle(route: Route, order: RecordingOrder) -> tuple[int, bytes]:
    """Record one replica of a version, which Serve chooses, or the process of a hosted one."""
    handle, hosted = _handle(route)
    try:
        answer: tuple[int, bytes] = await handle.profile.remote(*hosted, order)
    finally:
        await handle.shutdown_async()
    return answer


async def end_over_handle(route: Route, key: str) -> None:
    """End a recording: all replicas of the version are told, as Serve does not say which one records."""
    handle, hosted = _handle(route)
    try:
        await asyncio.wait_for(handle.broadcast("end_profile", *hosted, key).results_async(), END_TIMEOUT_S)
    except SERVE_FAILURES as error:
        log.info("profile_not_ended app=%s error=%r", route.app, brief(error))
    finally:
        await handle.shutdown_async()


def _handle(route: Route) -> tuple[DeploymentHandle, tuple[str, ...]]:
    """Return the handle of what runs a version, and the arguments that name a hosted one there."""
    hosted = (route.app,) if route.host else ()
    return DeploymentHandle(HOST_DEPLOYMENT if hosted else DEPLOYMENT, route.host or route.app), hosted
