"""Answers profile requests at a router: finds the version, and records one of its replicas over Serve's handle."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from ray.serve.handle import DeploymentHandle

from core.admin.messages import profile_answer, read_profile_request
from core.admin.profile_request import profiled_route
from core.errors import Code, RuntimeFailure, Unavailable
from core.routing.table import Route, RoutingTable
from core.versions.hosted import HOST_DEPLOYMENT
from core.versions.servable import DEPLOYMENT
from deployments.telemetry.serve_failures import SERVE_FAILURES

EXTRA_TIME_S = 30.0
"""How long writing and sending the profile may take after it was recorded."""


Record = Callable[[Route, float], Awaitable[tuple[int, bytes]]]
"""Records a replica of a version for some seconds: `ModelServer.profile`."""


async def answer_profile(table: Callable[[], RoutingTable], record: Record, raw: bytes) -> bytes:
    """Answer `Profile` of the Admin service; raises ServingError."""
    request = read_profile_request(raw)
    route = profiled_route(table(), request)
    try:
        code, body = await asyncio.wait_for(record(route, request.seconds), request.seconds + EXTRA_TIME_S)
    except SERVE_FAILURES as error:
        raise Unavailable(f"No replica of {route.app} could be recorded: {error}") from error
    if code:
        raise RuntimeFailure(Code(code), body.decode())
    return profile_answer(body, route.servable.version)


async def record_over_handle(route: Route, seconds: float) -> tuple[int, bytes]:
    """Record one replica of a version, which Serve chooses, or the process of a hosted one."""
    hosted = (route.app,) if route.host else ()
    handle: DeploymentHandle = DeploymentHandle(HOST_DEPLOYMENT if hosted else DEPLOYMENT, route.host or route.app)
    try:
        answer: tuple[int, bytes] = await handle.profile.remote(*hosted, seconds)
    finally:
        await handle.shutdown_async()
    return answer
