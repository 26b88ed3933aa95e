"""A version that answers calls, without Serve around it."""

from __future__ import annotations

import asyncio
from pathlib import Path

from core.routing.transport import Call, Method
from core.versions.servable import ServableId
from core.versions.servable_spec import ServableSpec
from deployments.inference.batcher import by_itself
from deployments.inference.served_version import ServedVersion, ServingPlace
from tests.support.clients import wait_until

ROUNDS = 20_000


async def test_a_call_that_serve_brings_is_load_while_it_is_answered(saved_models: Path) -> None:
    """Serve's own figure has the questions of routers, too, so that the version counts calls itself."""
    spec = ServableSpec(ServableId("slow", 1), str(saved_models / "slow" / "1"))
    version = ServedVersion(spec, ServingPlace("127.0.0.1", "node", "replica"), by_itself)
    body = f'{{"inputs": {{"iterations": {ROUNDS}}}}}'.encode()

    asked = asyncio.create_task(version.call(Call(Method.REST_PREDICT, body, None)))
    await asyncio.to_thread(wait_until, lambda: version.open_calls == 1, "the call is counted")
    version.endpoint(())
    assert version.open_calls == 1

    answer = await asked
    assert str(ROUNDS).encode() in answer.body
    assert version.open_calls == 0
    await version.end()
