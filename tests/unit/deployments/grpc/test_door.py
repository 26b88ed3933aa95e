"""The gRPC port alone, without Ray: TLS, mutual TLS, reloaded certificates, UNIX sockets."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from core.errors import Code, Unavailable
from core.routing.table import ModelRoutes, Route, RoutingTable
from core.routing.transport import Answer
from core.versions.lifecycle import State, VersionStatus
from core.versions.servable import ServableId
from deployments.grpc.api import GrpcApi
from deployments.grpc.door import GrpcAddress, GrpcDoor
from deployments.routing.request_router import RequestRouter
from ray_model_client import AsyncClient, ServerError
from tests.support.certificates import Authority, write_ssl_config
from tests.support.clients import free_port
from tests.support.fakes import FakeTransport

TABLE = RoutingTable(
    1,
    {
        "m": ModelRoutes({1: Route.of(ServableId("m", 1))}, statuses=(VersionStatus(1, State.AVAILABLE),)),
        "loading": ModelRoutes(),
    },
    settled=True,
)

Opener = Callable[..., Awaitable[GrpcDoor]]


@pytest.fixture
async def open_door() -> AsyncIterator[Opener]:
    """Opens doors that are closed when the test is over."""
    doors: list[GrpcDoor] = []

    async def opened(**address: object) -> GrpcDoor:
        router = RequestRouter("r", FakeTransport(Answer(Code.OK, b"")))
        router.apply(TABLE)
        door = GrpcDoor(GrpcAddress("127.0.0.1", **address), GrpcApi(router, "token", _no_reload), "token")
        await door.open()
        door.health.open(TABLE)
        doors.append(door)
        return door

    yield opened
    for door in doors:
        await door.drain(1.0)


async def _no_reload(raw: bytes) -> bytes:
    return raw


async def answers(port: int, credentials: grpc.ChannelCredentials | None, timeout_s: float = 60.0) -> bool:
    async with AsyncClient(f"localhost:{port}", credentials=credentials, timeout_s=timeout_s) as client:
        return (await client.status("m"))[0].version == 1


async def test_tls_protects_the_port(open_door: Opener, tmp_path: Path) -> None:
    """A client that trusts the authority is answered, a plain one is not."""
    authority, port = Authority(), free_port()
    write_ssl_config(tmp_path / "ssl", authority)
    await open_door(port=port, ssl_config_file=str(tmp_path / "ssl"))

    trusting = grpc.ssl_channel_credentials(authority.certificate.encode())
    assert await answers(port, trusting)
    with pytest.raises(ServerError):
        await answers(port, None, 3.0)


async def test_mutual_tls_asks_for_a_client_certificate(open_door: Opener, tmp_path: Path) -> None:
    """Only a client with a certificate of the configured authority gets in."""
    authority, stranger, port = Authority(), Authority(), free_port()
    write_ssl_config(tmp_path / "ssl", authority, verify=True)
    await open_door(port=port, ssl_config_file=str(tmp_path / "ssl"))
    root = authority.certificate.encode()

    key, certificate = authority.issue()
    assert await answers(port, grpc.ssl_channel_credentials(root, key.encode(), certificate.encode()))
    strange_key, strange = stranger.issue()
    for credentials in (
        grpc.ssl_channel_credentials(root),
        grpc.ssl_channel_credentials(root, strange_key.encode(), strange.encode()),
    ):
        with pytest.raises(ServerError):
            await answers(port, credentials, 3.0)


async def test_certificates_are_read_again_when_the_file_changes(open_door: Opener, tmp_path: Path) -> None:
    """New connections get the new certificate; a broken file changes nothing."""
    old, new, port = Authority(), Authority(), free_port()
    file = tmp_path / "ssl"
    write_ssl_config(file, old)
    await open_door(port=port, ssl_config_file=str(file))
    assert await answers(port, grpc.ssl_channel_credentials(old.certificate.encode()))

    file.write_text("nonsense")
    assert await answers(port, grpc.ssl_channel_credentials(old.certificate.encode()))
    write_ssl_config(file, new)

    assert await answers(port, grpc.ssl_channel_credentials(new.certificate.encode()))


async def test_every_address_gets_the_new_certificate(open_door: Opener, tmp_path: Path) -> None:
    """The UNIX socket as well as the port, whichever is asked first."""
    old, new, port = Authority(), Authority(), free_port()
    file, path = tmp_path / "ssl", str(tmp_path / "s")
    write_ssl_config(file, old)
    await open_door(port=port, socket_path=path, ssl_config_file=str(file))
    write_ssl_config(file, new)
    trusting = grpc.ssl_channel_credentials(new.certificate.encode())

    assert await answers(port, trusting)
    options = [("grpc.ssl_target_name_override", "localhost")]
    async with grpc.aio.secure_channel(f"unix:{path}", trusting, options) as channel:
        check = health_pb2_grpc.HealthStub(channel).Check
        assert (
            await check(health_pb2.HealthCheckRequest(), timeout=60)
        ).status == health_pb2.HealthCheckResponse.SERVING


async def test_a_unix_socket_answers(open_door: Opener, tmp_path: Path) -> None:
    """`--grpc_socket_path` opens a socket, with or without a TCP port."""
    await open_door(port=0, socket_path=str(tmp_path / "s"))

    async with AsyncClient(f"unix:{tmp_path / 's'}") as client:
        assert (await client.predict("m", {"x": np.float32(1)})) == {}


async def test_an_address_that_cannot_be_bound_is_named(open_door: Opener, tmp_path: Path) -> None:
    """The error says which address it was."""
    with pytest.raises(Unavailable, match="Failed to bind gRPC to unix:"):
        await open_door(port=0, socket_path=str(tmp_path / "missing" / "s"))
