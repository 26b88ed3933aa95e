"""Tests of the REST application as Serve's ingress: settings, and requests that change their event loop."""

from __future__ import annotations

import asyncio
import pickle
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from core.config.server_settings import FrontDoorSettings, ServerSettings
from deployments.rest.api import HttpLimits
from deployments.rest.door import HttpAddress
from deployments.rest.serve_ingress import http_address, http_limits, on_loop
from deployments.system.event_loop import LoopThread
from tests.support.clients import wait_until


@pytest.fixture
def thread() -> Iterator[LoopThread]:
    """The loop of our own ports."""
    loop = LoopThread("serve-ingress-test")
    yield loop
    loop.stop()
    loop.join(60)


@pytest.mark.parametrize(("timeout_ms", "timeout_s"), [(2500, 2.5), (0, None), (-1, None)])
def test_limits_follow_the_settings(timeout_ms: int, timeout_s: float | None) -> None:
    """A time-out that is not positive means none."""
    door = FrontDoorSettings(rest_timeout_ms=timeout_ms, rest_max_body_bytes=7, rest_cors=True)

    assert http_limits(ServerSettings(door)) == HttpLimits(timeout_s, 7, cors=True)


def test_addresses_follow_the_settings() -> None:
    """Those of REST, not of gRPC."""
    door = FrontDoorSettings("h", 1, "/g", rest_port=2, rest_socket_path="/r", rest_ssl_config_file="s")

    assert http_address(ServerSettings(door)) == HttpAddress("h", 2, "/r", "s")


async def test_a_request_is_answered_on_the_loop_of_our_own_ports(thread: LoopThread) -> None:
    """Body and answer cross over; the proxy's functions are called on the proxy's loop."""
    threads: list[str] = []
    sent: list[Any] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        threads.append(threading.current_thread().name)
        message = await receive()
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": message["body"] + scope["more"]})

    async def receive() -> Any:
        threads.append(threading.current_thread().name)
        return {"type": "http.request", "body": b"there and "}

    async def send(message: Any) -> None:
        threads.append(threading.current_thread().name)
        sent.append(message)

    await on_loop(application, thread)({"type": "http", "more": b"back"}, receive, send)

    here = threading.current_thread().name
    assert sent[-1]["body"] == b"there and back"
    assert threads == ["serve-ingress-test", here, here, here]


async def test_a_body_that_is_a_view_can_leave_the_process(thread: LoopThread) -> None:
    """Serve pickles messages on their way to its proxy, and a view cannot be pickled."""
    sent: list[Any] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        del scope, receive
        await send({"type": "http.response.body", "body": memoryview(b"answer")[:3]})

    async def send(message: Any) -> None:
        sent.append(pickle.dumps(message))

    await on_loop(application, thread)({"type": "http"}, None, send)

    assert pickle.loads(sent[0])["body"] == b"ans"


async def test_a_request_that_the_proxy_cancels_ends_on_both_loops(thread: LoopThread) -> None:
    """Nobody works for a client of the proxy that has gone."""
    began, ended = threading.Event(), threading.Event()

    async def application(scope: Any, receive: Any, send: Any) -> None:
        del scope, receive, send
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async def unused(*_: Any) -> Any:
        raise AssertionError

    request = asyncio.ensure_future(on_loop(application, thread)({"type": "http"}, unused, unused))
    await asyncio.to_thread(began.wait, 5)

    request.cancel()

    with pytest.raises(asyncio.CancelledError):
        await request
    await asyncio.to_thread(wait_until, ended.is_set, "the application ended", 5)


async def test_the_life_of_the_application_stays_on_the_proxys_loop(thread: LoopThread) -> None:
    """Only requests change their loop."""
    threads: list[str] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        del scope, receive, send
        threads.append(threading.current_thread().name)

    async def unused(*_: Any) -> Any:
        raise AssertionError

    await on_loop(application, thread)({"type": "lifespan"}, unused, unused)

    assert threads == [threading.current_thread().name]
