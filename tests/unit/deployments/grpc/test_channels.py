"""What clients and operators ask of gRPC itself, over real channels: sockets, arguments, limits, compression, sizes."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Self

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from core.config.arguments import parse_flags
from core.errors import Code, Unavailable
from core.inference.tensor_proto import to_array, to_proto
from core.protos import serving_pb2
from deployments.grpc.door import GrpcAddress, GrpcDoor
from deployments.system.port_claim import PortTaken, grpc_token
from ray_model_client import Client, ServerError
from tests.support.certificates import Authority, write_ssl_config
from tests.support.clients import wait_until
from tests.support.doors.grpc_stack import GrpcStack

PREDICT = "/tensorflow.serving.PredictionService/Predict"
MODELS = {"half_plus_two": 1}
LARGE = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
MEDIUM = 2
LONG_LOOP = np.array(2_000_000, np.int32)


class Relay:
    """Passes connections on to a port; counts them, and the bytes in each direction. A context manager."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.connections = self.sent = self.received = 0

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            server = socket.create_connection(("127.0.0.1", self._target))
            for source, target, counter in ((client, server, "sent"), (server, client, "received")):
                threading.Thread(target=self._pump, args=(source, target, counter), daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket, counter: str) -> None:
        with source:
            try:
                while data := source.recv(65536):
                    setattr(self, counter, getattr(self, counter) + len(data))
                    target.sendall(data)
                target.shutdown(socket.SHUT_WR)
            except OSError:
                return

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


def predict_request(elements: int, model: str = "half_plus_two") -> bytes:
    request = serving_pb2.PredictRequest()
    request.model_spec.name = model
    request.inputs["x"].CopyFrom(to_proto(np.zeros(elements, np.float32), as_content=True))
    return request.SerializeToString()


def predict(channel: grpc.Channel, elements: int) -> np.ndarray:
    answer = channel.unary_unary(PREDICT)(predict_request(elements), timeout=60)
    return to_array(serving_pb2.PredictResponse.FromString(answer).outputs["y"])


@pytest.fixture
def stack(saved_models: Path) -> Iterator[GrpcStack]:
    with GrpcStack(saved_models, MODELS) as running:
        yield running


def test_sixty_four_mebibytes_go_both_ways(stack: GrpcStack) -> None:
    """Neither side of our door has gRPC's limit of 4 MiB."""
    with grpc.insecure_channel(f"127.0.0.1:{stack.port}", options=LARGE) as channel:
        assert predict(channel, 2**24).tobytes() == np.full(2**24, 2.0, np.float32).tobytes()


def test_a_client_may_compress_its_requests(stack: GrpcStack) -> None:
    """A gzipped request is read; the answer is not compressed, because nobody asked for that."""
    with (
        Relay(stack.port) as relay,
        grpc.insecure_channel(f"127.0.0.1:{relay.port}", compression=grpc.Compression.Gzip) as channel,
    ):
        assert predict(channel, 100_000).size == 100_000

    assert relay.sent < 10_000
    assert relay.received > 400_000


def test_answers_are_compressed_for_clients_that_take_it_where_the_operator_asks(saved_models: Path) -> None:
    """The channel argument switches it on; a client that takes no compressed answers gets plain ones."""
    arguments = (("grpc.default_compression_level", MEDIUM),)
    only_plain = [("grpc.compression_enabled_algorithms_bitset", 1)]
    received = []
    with GrpcStack(saved_models, MODELS, channel_arguments=arguments) as stack:
        for options in ([], only_plain):
            with (
                Relay(stack.port) as relay,
                grpc.insecure_channel(f"127.0.0.1:{relay.port}", options=options) as channel,
            ):
                assert predict(channel, 100_000).size == 100_000
            received.append(relay.received)

    assert received[0] < 10_000
    assert received[1] > 400_000


def test_the_operators_limit_of_messages_counts(saved_models: Path) -> None:
    """A channel argument replaces our own value of it."""
    arguments = (("grpc.max_receive_message_length", 10_000),)
    with (
        GrpcStack(saved_models, MODELS, channel_arguments=arguments) as stack,
        grpc.insecure_channel(f"127.0.0.1:{stack.port}") as channel,
    ):
        assert predict(channel, 1000).size == 1000
        with pytest.raises(grpc.RpcError) as caught:
            predict(channel, 10_000)

    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_connections_are_as_old_as_the_operator_lets_them_become(saved_models: Path) -> None:
    """Load balancers want that; no call fails when the connection is changed."""
    arguments = (("grpc.max_connection_age_ms", 100), ("grpc.max_connection_age_grace_ms", 10_000))
    with (
        GrpcStack(saved_models, MODELS, channel_arguments=arguments) as stack,
        Relay(stack.port) as relay,
        Client(f"127.0.0.1:{relay.port}") as client,
    ):
        wait_until(lambda: bool(client.predict("half_plus_two", {"x": 1.0})) and relay.connections >= 3, "reconnected")


def test_the_arguments_of_tensorflow_servings_own_test_are_taken(saved_models: Path) -> None:
    """One is for servers and the other for clients, which a server passes over."""
    parsed = parse_flags(
        ["--model_base_path=/m", "--grpc_channel_arguments=grpc.max_connection_age_ms=2000,grpc.lb_policy_name=grpclb"]
    )
    assert parsed.settings is not None
    arguments = parsed.settings.front_door.grpc_channel_arguments

    with (
        GrpcStack(saved_models, MODELS, channel_arguments=arguments) as stack,
        Client(f"127.0.0.1:{stack.port}") as client,
    ):
        assert client.predict("half_plus_two", {"x": 2.0})["y"] == 3.0


def test_calls_beyond_the_limit_are_refused_and_probes_are_not(saved_models: Path) -> None:
    """`--grpc_max_threads` bounds calls in work: health checks and sibling routers get their answer all the same."""
    with (
        GrpcStack(saved_models, {"slow": 1, **MODELS}, most_calls=1) as stack,
        Client(f"127.0.0.1:{stack.port}") as client,
        ThreadPoolExecutor(1) as pool,
        grpc.insecure_channel(f"127.0.0.1:{stack.port}") as channel,
    ):
        long = pool.submit(client.predict, "slow", {"iterations": LONG_LOOP // 100})
        wait_until(lambda: stack.executions["slow"].in_flight == 1, "the long call is in work")

        with pytest.raises(ServerError, match="--grpc_max_threads") as caught:
            client.predict("half_plus_two", {"x": 1.0})
        health = health_pb2_grpc.HealthStub(channel)
        assert health.Check(health_pb2.HealthCheckRequest()).status == health_pb2.HealthCheckResponse.SERVING
        assert grpc_token("127.0.0.1", stack.port) == "token"
        assert not long.done()
        long.result(60)
        assert client.predict("half_plus_two", {"x": 1.0})["y"] == 2.5

    assert caught.value.code == Code.RESOURCE_EXHAUSTED


def test_a_new_door_takes_the_unix_socket_over(saved_models: Path, tmp_path: Path) -> None:
    """A router that replaces another has the same path; the old one does not take it away when it closes."""
    path = str(tmp_path / "s")
    with ExitStack() as old:
        old.enter_context(GrpcStack(saved_models, MODELS, port=0, socket_path=path))
        with GrpcStack(saved_models, MODELS, port=0, socket_path=path), Client(f"unix:{path}") as client:
            old.close()

            assert client.predict("half_plus_two", {"x": 1.0})["y"] == 2.5
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("verify", [None, False, True], ids=["plain", "TLS", "mutual TLS"])
def test_siblings_share_a_port(saved_models: Path, tmp_path: Path, verify) -> None:
    """The second replica proves to be of the same application, by its token or, encrypted, by its certificate."""
    file = tmp_path / "ssl"
    if verify is not None:
        write_ssl_config(file, Authority(), verify=verify)
    name = "" if verify is None else str(file)
    with GrpcStack(saved_models, MODELS, ssl_config_file=name) as stack:
        with GrpcStack(saved_models, MODELS, ssl_config_file=name, port=stack.port):
            pass
        write_ssl_config(tmp_path / "other", Authority(), verify=True)
        strange = GrpcAddress("127.0.0.1", stack.port, ssl_config_file=str(tmp_path / "other"))
        with pytest.raises(PortTaken, match="gRPC"):
            GrpcDoor(strange, stack.api, "token")


def test_a_stranger_that_listens_after_the_claim_is_found_before_the_door_opens(saved_models: Path) -> None:
    """A port that was bound, but silent, at the claim could be anybody's."""
    with socket.socket() as stranger:
        stranger.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        stranger.bind(("127.0.0.1", 0))
        port = stranger.getsockname()[1]
        with GrpcStack(saved_models, MODELS) as stack:
            door = GrpcDoor(GrpcAddress("127.0.0.1", port), stack.api, "token")
            stranger.listen()

            with pytest.raises(PortTaken):
                asyncio.run(door.open())


def test_ipv6_addresses_can_be_listened_on(saved_models: Path) -> None:
    """`--host=::1` is a host, not a host and a port."""
    with GrpcStack(saved_models, MODELS, host="::1") as stack, Client(f"[::1]:{stack.port}") as client:
        assert client.predict("half_plus_two", {"x": 1.0})["y"] == 2.5
        assert grpc_token("::1", stack.port) == "token"


def test_clients_can_repeat_calls_that_found_no_replica(stack: GrpcStack) -> None:
    """An error is a status without a message before it: only then does gRPC repeat a call for its caller."""
    stack.transport.failures = [Unavailable("not now"), Unavailable("not yet")]

    with Client(f"127.0.0.1:{stack.port}") as client:
        assert client.predict("half_plus_two", {"x": 1.0})["y"] == 2.5

    assert stack.transport.failures == []
