"""The health service over a real channel: names, changes, watching, and the stop of the server."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from core.errors import Code
from core.routing.table import ModelRoutes, Route, RoutingTable
from core.versions.lifecycle import State, VersionStatus
from core.versions.servable import ServableId
from deployments.grpc.health import Health
from tests.support.doors.grpc_stack import GrpcStack

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
SERVICE_UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
SERVER_NAMES = (
    "",
    "ModelService",
    "PredictionService",
    "tensorflow.serving.ModelService",
    "tensorflow.serving.PredictionService",
    "inference.GRPCInferenceService",
)
MODEL = "model/half_plus_two"


@pytest.fixture
def stack(saved_models: Path) -> Iterator[GrpcStack]:
    with GrpcStack(saved_models, {"half_plus_two": 1}) as running:
        yield running


@pytest.fixture
def health(stack: GrpcStack) -> Iterator[health_pb2_grpc.HealthStub]:
    with grpc.insecure_channel(f"127.0.0.1:{stack.port}") as channel:
        yield health_pb2_grpc.HealthStub(channel)


def question(name: str) -> health_pb2.HealthCheckRequest:
    return health_pb2.HealthCheckRequest(service=name)


def status(health: health_pb2_grpc.HealthStub, name: str) -> int:
    return health.Check(question(name), timeout=60).status


def follow(stack: GrpcStack, **models: ModelRoutes) -> None:
    """Let the door learn of a new table."""

    async def learn() -> None:
        stack.door.health.follow(RoutingTable(2, models))

    stack.run(learn())


@pytest.mark.parametrize("name", [*SERVER_NAMES, MODEL])
def test_the_server_and_its_models_are_serving(health: health_pb2_grpc.HealthStub, name) -> None:
    """The server has TensorFlow Serving's short names, the full ones, and the empty one."""
    assert status(health, name) == SERVING


@pytest.mark.parametrize("name", ["model/foo", "model/", "half_plus_two", "Foo", "\N{SNOWMAN}", "x" * 5000])
def test_what_nobody_knows_is_not_found(health: health_pb2_grpc.HealthStub, name) -> None:
    """As the protocol of health checks demands; a watcher may wait for it to come."""
    with pytest.raises(grpc.RpcError) as caught:
        status(health, name)
    watched = health.Watch(question(name), timeout=60)

    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    assert next(watched).status == SERVICE_UNKNOWN
    watched.cancel()


def test_a_model_without_an_available_version_does_not_serve(
    stack: GrpcStack, health: health_pb2_grpc.HealthStub
) -> None:
    """Neither one that is still loading, nor one that has gone; the server as a whole serves on."""
    follow(stack, loading=ModelRoutes())

    assert (status(health, "model/loading"), status(health, MODEL), status(health, "")) == (
        NOT_SERVING,
        NOT_SERVING,
        SERVING,
    )


def test_a_watcher_sees_a_model_come_go_and_come_back(stack: GrpcStack, health: health_pb2_grpc.HealthStub) -> None:
    """One message for each change, and none where nothing changed."""
    watched = health.Watch(question("model/new"), timeout=60)
    routes = stack.table.models["half_plus_two"]
    seen = [next(watched).status]
    for models in ({"new": ModelRoutes()}, {"new": routes}, {"new": routes, "other": routes}, {}, {"new": routes}):
        follow(stack, **models)
        if "other" not in models:
            seen.append(next(watched).status)

    assert seen == [SERVICE_UNKNOWN, NOT_SERVING, SERVING, NOT_SERVING, SERVING]
    watched.cancel()


def test_everything_can_be_listed(health: health_pb2_grpc.HealthStub) -> None:
    """All names that Check knows."""
    listed = health.List(health_pb2.HealthListRequest(), timeout=60).statuses

    assert {name: one.status for name, one in listed.items()} == dict.fromkeys((*SERVER_NAMES, MODEL), SERVING)


def test_watchers_hear_of_the_stop_and_do_not_hold_it_up(saved_models: Path) -> None:
    """They see NOT_SERVING, then the end of the stream; the server does not wait for them to go."""
    with ThreadPoolExecutor(3) as pool:
        stack = GrpcStack(saved_models, {"half_plus_two": 1})
        with stack, grpc.insecure_channel(f"127.0.0.1:{stack.port}") as channel:
            health = health_pb2_grpc.HealthStub(channel)
            watched = [health.Watch(question(name)) for name in ("", MODEL, "model/foo")]
            assert [next(one).status for one in watched] == [SERVING, SERVING, SERVICE_UNKNOWN]
            rest = [pool.submit(lambda one=one: [answer.status for answer in one]) for one in watched]

            stack.run(stack.door.drain(600.0))

            assert [one.result(60) for one in rest] == [[NOT_SERVING], [NOT_SERVING], []]


def test_the_stop_is_told_while_calls_finish(stack: GrpcStack, health: health_pb2_grpc.HealthStub) -> None:
    """What was said after the stop does not count any more."""

    async def stop() -> None:
        stack.door.health.close()
        stack.door.health.follow(stack.table)

    stack.run(stop())

    assert {status(health, name) for name in (*SERVER_NAMES, MODEL)} == {NOT_SERVING}


class Reader:
    """A watcher's end of the stream; reads what is written while it is ready."""

    def __init__(self, *, is_ready: bool) -> None:
        self.told: list[int] = []
        self.ready = asyncio.Event()
        if is_ready:
            self.ready.set()

    async def write(self, answer: health_pb2.HealthCheckResponse) -> None:
        self.told.append(answer.status)
        await self.ready.wait()


async def test_a_watcher_that_does_not_read_holds_nobody_up() -> None:
    """Others hear of every change at once; the slow one learns of the newest status when it reads again."""
    health, slow, quick = Health(), Reader(is_ready=False), Reader(is_ready=True)
    watching = [asyncio.ensure_future(health.Watch(question("model/m"), reader)) for reader in (slow, quick)]
    route = ModelRoutes({1: Route.of(ServableId("m", 1))}, statuses=(VersionStatus(1, State.AVAILABLE),))

    for routes in (ModelRoutes(), route, ModelRoutes(), route):
        await asyncio.sleep(0)
        health.follow(RoutingTable(1, {"m": routes}))
    await asyncio.sleep(0)
    assert quick.told == [SERVICE_UNKNOWN, NOT_SERVING, SERVING, NOT_SERVING, SERVING]
    assert slow.told == [SERVICE_UNKNOWN]
    slow.ready.set()
    health.close()
    await asyncio.gather(*watching)

    assert slow.told == [SERVICE_UNKNOWN, NOT_SERVING]


def test_a_model_that_answers_with_errors_only_does_not_serve(stack: GrpcStack, health) -> None:
    """Until its replicas report a run that succeeded."""
    route = {1: Route.of(ServableId("half_plus_two", 1))}
    lost = VersionStatus(1, State.AVAILABLE, Code.INTERNAL, "every run failed so far: device lost")

    follow(stack, half_plus_two=ModelRoutes(route, statuses=(lost,)))
    assert (status(health, MODEL), status(health, "")) == (NOT_SERVING, SERVING)

    follow(stack, half_plus_two=ModelRoutes(route, statuses=(VersionStatus(1, State.AVAILABLE),)))
    assert status(health, MODEL) == SERVING


async def test_the_server_serves_once_it_is_ready_as_readyz_says() -> None:
    """A declared version is awaited after the ports are open; later nothing but the stop ends it."""
    model = ModelRoutes({1: Route.of(ServableId("m", 1))}, statuses=(VersionStatus(1, State.AVAILABLE),))
    ready = RoutingTable(2, {"m": model}, settled=True)
    health = Health()
    seen = []

    for act in (
        lambda: health.follow(ready),
        lambda: health.open(replace(ready, awaited=frozenset({ServableId("m", 2)}))),
        lambda: health.follow(ready),
        lambda: health.follow(RoutingTable(3, {"m": ModelRoutes()}, settled=True)),
        health.close,
    ):
        act()
        seen.append((await health.Check(question(""), None)).status)

    assert seen == [NOT_SERVING, NOT_SERVING, SERVING, SERVING, NOT_SERVING]
