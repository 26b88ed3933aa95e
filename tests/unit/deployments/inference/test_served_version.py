"""A version that answers calls, without Serve around it."""

from __future__ import annotations

import asyncio
from pathlib import Path

from core.delivery.output_counts import Binning, OutputOrder, outputs_of_json
from core.routing.transport import Call, Method
from core.versions.servable import ServableId
from core.versions.servable_spec import ServableSpec
from deployments.inference.batcher import by_itself
from deployments.inference.served_version import ServedVersion, ServingPlace
from deployments.routing.awaited_call import call_over
from tests.support.clients import wait_until
from tests.support.direct_sites import connected

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


async def test_a_router_is_told_of_the_outputs_that_it_asks_for(saved_models: Path) -> None:
    """Of real answers, whichever way the calls came; the question itself runs nothing."""
    spec = ServableSpec(ServableId("half_plus_two", 1), str(saved_models / "half_plus_two" / "1"))
    version = ServedVersion(spec, ServingPlace("127.0.0.1", "node", "replica"), by_itself)
    connection = await connected(version.endpoint(()))

    async def told(binning: Binning) -> dict[str, int]:
        order = OutputOrder("rollout", {"y": binning}).to_json()
        answer = await call_over(connection, Call(Method.OBSERVE, order, 5.0))
        return dict(outputs_of_json(bytes(answer.body))["y"].counts)

    thirds = Binning(edges=(2.5, 3.5))
    assert await told(thirds) == {}
    for body in (b'{"instances": [2.0, 4.0]}', b'{"instances": [[0.0]]}', b'{"instances": [2.0]}', b"garbage"):
        await call_over(connection, Call(Method.REST_PREDICT, body, 5.0))
    await version.call(Call(Method.REST_PREDICT, b'{"instances": [10.0]}', 5.0))

    assert await told(thirds) == {"0": 1, "1": 2, "2": 1}
    connection.retire()
    await version.end()
