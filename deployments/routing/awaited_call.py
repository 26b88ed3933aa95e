"""Awaits the answer to a call, for callers that run in a task anyway.

The other way, without task and future, is `deployments.routing.short_call`.
"""

from __future__ import annotations

import asyncio

from core.errors import DeadlineExceeded
from core.routing.transport import TIMED_OUT, Answer, Call, ConnectionLost, OpenCall
from core.telemetry.metric_names import DROPPED_REQUESTS
from deployments.routing.direct_connection import DirectConnection
from deployments.telemetry.process_metrics import METRICS


async def call_over(connection: DirectConnection, call: Call, model: str = "") -> Answer:
    """Send a call as soon as its connection takes it, and wait for the answer; a cancelled caller withdraws it.

    `model` is for the count of calls that are dropped unsent. Raises ConnectionLost and DeadlineExceeded.
    """
    if not connection.writable.is_set():
        call = await _when_writable(connection, call, model)
    if not connection.takes_calls:
        raise ConnectionLost(f"The connection to replica {connection.endpoint.replica} is closed.")
    waiting: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
    return await answer_to(connection.begin(call, waiting), waiting)


async def answer_to(sent: OpenCall, waiting: asyncio.Future[Answer]) -> Answer:
    """Wait for the answer to a call that was sent for `waiting`; a cancelled caller withdraws it.

    Raises ConnectionLost and DeadlineExceeded.
    """
    try:
        return await waiting
    except asyncio.CancelledError:
        sent.withdraw()
        raise


async def _when_writable(connection: DirectConnection, call: Call, model: str) -> Call:
    """Wait until the replica has read what was sent before; the wait is taken off the caller's time."""
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    try:
        async with asyncio.timeout(call.timeout_s):
            while not connection.writable.is_set():
                await connection.writable.wait()
    except TimeoutError:
        METRICS.count(DROPPED_REQUESTS, model, "expired")
        raise DeadlineExceeded(TIMED_OUT) from None
    except asyncio.CancelledError:
        METRICS.count(DROPPED_REQUESTS, model, "cancelled")
        raise
    if call.timeout_s is None:
        return call
    return call._replace(timeout_s=call.timeout_s - (loop.time() - began_s))
