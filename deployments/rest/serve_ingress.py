"""The REST application as Serve's ingress: requests of its HTTP proxy run on the loop of our own port."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from core.config.server_settings import ServerSettings
from deployments.rest.api import HttpLimits
from deployments.rest.asgi import AsgiApp, Message, Receive, Scope, Send
from deployments.rest.door import HttpAddress
from deployments.system.event_loop import LoopThread


def http_limits(settings: ServerSettings) -> HttpLimits:
    """Return the REST limits that the settings ask for."""
    door = settings.front_door
    timeout_s = door.rest_timeout_ms / 1000 if door.rest_timeout_ms > 0 else None
    return HttpLimits(timeout_s, door.rest_max_body_bytes, door.rest_cors)


def http_address(settings: ServerSettings) -> HttpAddress:
    """Return the REST addresses that the settings ask for."""
    door = settings.front_door
    return HttpAddress(door.host, door.rest_port, door.rest_socket_path, door.rest_ssl_config_file, door.held_ports)


def on_loop(app: AsgiApp, thread: LoopThread) -> AsgiApp:
    """Wrap an application so that HTTP requests of another loop are answered on the loop of `thread`."""

    async def bridged(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        here = asyncio.get_running_loop()
        send_across = _across(send, here)
        done = thread.run(awaited(app(scope, _across(receive, here), lambda message: send_across(_owned(message)))))
        try:
            await asyncio.wrap_future(done)
        except asyncio.CancelledError:
            done.cancel()
            raise

    return bridged


def _owned(message: Message) -> Message:
    """Return a message whose body is no view of other memory: Serve's proxy is another process."""
    body = message.get("body")
    return {**message, "body": bytes(body)} if isinstance(body, memoryview) else message


def _across(function: Callable[..., Awaitable[Any]], home: asyncio.AbstractEventLoop) -> Callable[..., Awaitable[Any]]:
    """Let a coroutine function of one loop be awaited on another."""

    async def called(*arguments: Message) -> Any:
        coroutine = function(*arguments)
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(awaited(coroutine), home))

    return called


async def awaited(work: Awaitable[Any]) -> Any:
    """Return the result of anything that can be awaited, as a coroutine."""
    return await work
