"""Tests of long requests whose clients close their connections, or do not."""

from __future__ import annotations

import asyncio

import pytest

from deployments.rest import disconnect_watch
from tests.support.doors.asgi_client import BODY


async def test_a_client_that_goes_while_it_waits_withdraws_its_call(client, monkeypatch) -> None:
    """Long calls are worth a look; nothing is sent to the closed connection."""
    monkeypatch.setattr(disconnect_watch, "WATCH_AFTER_S", 0.0)
    client.transport.hold()
    request = asyncio.ensure_future(client.send("POST", "/v1/models/h2:predict", BODY))
    while client.received < 2:
        await asyncio.sleep(0.001)
    assert sum(client.router.report().in_flight.values()) == 1

    client.disconnect.set()

    assert await request is None
    assert (client.transport.cancelled, client.router.report().in_flight) == (1, {})


async def test_a_client_that_stays_gets_its_late_answer(client, monkeypatch) -> None:
    """The watch takes nothing from the request and ends with it."""
    monkeypatch.setattr(disconnect_watch, "WATCH_AFTER_S", 0.0)
    gate = client.transport.hold()
    request = asyncio.ensure_future(client.send("POST", "/v1/models/h2:predict", BODY))
    while client.received < 2:
        await asyncio.sleep(0.001)

    gate.set()

    assert (await request).status == 200
    await asyncio.sleep(0)
    assert len(asyncio.all_tasks()) == 1


async def test_a_server_that_stops_ends_its_requests(client) -> None:
    """A cancellation that is not the client's goes on."""
    client.transport.hold()
    request = asyncio.ensure_future(client.send("POST", "/v1/models/h2:predict", BODY))
    while not client.transport.calls:
        await asyncio.sleep(0)

    request.cancel()

    with pytest.raises(asyncio.CancelledError):
        await request
