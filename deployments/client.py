"""A light client with numpy and gRPC, without TensorFlow, for this server and for TensorFlow Serving alike.

    with Client("127.0.0.1:8500") as client:
        client.predict("half_plus_two", {"x": [1.0, 2.0, 5.0]})["y"]

Calls that find the server UNAVAILABLE are repeated by gRPC, up to four times within the call's time. Both clients have
the methods of `core.grpc.client_calls`; `Client` blocks until the answer, `AsyncClient` returns it to `await`.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Self, TypeVar, cast

import grpc

from core.errors import Code, RuntimeFailure
from core.grpc import client_calls as calls
from core.grpc.client_calls import ClientCall

__all__ = ["AsyncClient", "Client"]

P = ParamSpec("P")
T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])

TIMEOUT_S = 60.0
RETRY_POLICY = {
    "methodConfig": [
        {
            "name": [{}],
            "retryPolicy": {
                "maxAttempts": 5,
                "initialBackoff": "0.05s",
                "maxBackoff": "1s",
                "backoffMultiplier": 3,
                "retryableStatusCodes": ["UNAVAILABLE"],
            },
        }
    ]
}
OPTIONS = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2000),
    ("grpc.service_config", json.dumps(RETRY_POLICY)),
)


def _failure(error: grpc.RpcError) -> RuntimeFailure:
    """Return the error of a failed call, with the server's code and text."""
    return RuntimeFailure(Code(error.code().value[0]), str(error.details()))


def _authorization(token: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {token}"),) if token else ()


def _described(method: F, make: Callable[..., object], answer: str) -> F:
    """Give a client's method the name, docstring and arguments of the function that makes its call."""
    asked = inspect.signature(make)
    itself = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
    returned = str(asked.return_annotation).removeprefix("ClientCall[").removesuffix("]")
    described = asked.replace(parameters=[itself, *asked.parameters.values()], return_annotation=answer % returned)
    method.__name__, method.__doc__ = make.__name__, make.__doc__
    cast(Any, method).__signature__ = described
    return method


def _blocking(make: Callable[P, ClientCall[T]]) -> Callable[Concatenate[Client, P], T]:
    def method(self: Client, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self.send(make(*args, **kwargs))

    return _described(method, make, "%s")


def _awaitable(make: Callable[P, ClientCall[T]]) -> Callable[Concatenate[AsyncClient, P], Awaitable[T]]:
    def method(self: AsyncClient, /, *args: P.args, **kwargs: P.kwargs) -> Awaitable[T]:
        return self.send(make(*args, **kwargs))

    return _described(method, make, "Awaitable[%s]")


class Client:
    """Calls one server; safe to share between threads. Every method raises RuntimeFailure with the server's code.

    `credentials` are gRPC's own, from `grpc.ssl_channel_credentials`; without them nothing is encrypted. `token` says
    who calls, to servers that want to know it.
    """

    predict = _blocking(calls.predict)
    classify = _blocking(calls.classify)
    regress = _blocking(calls.regress)
    status = _blocking(calls.status)
    metadata = _blocking(calls.metadata)

    def __init__(
        self,
        address: str,
        *,
        credentials: grpc.ChannelCredentials | None = None,
        timeout_s: float = TIMEOUT_S,
        token: str = "",
    ) -> None:
        self._timeout_s = timeout_s
        self._metadata = _authorization(token)
        if credentials is None:
            self._channel = grpc.insecure_channel(address, options=OPTIONS)
        else:
            self._channel = grpc.secure_channel(address, credentials, options=OPTIONS)

    def send(self, call: ClientCall[T]) -> T:
        """Make a call and wait for its answer."""
        try:
            send = self._channel.unary_unary(call.path)
            timeout_s = call.timeout_s or self._timeout_s
            return call.read(send(call.body, timeout=timeout_s, metadata=self._metadata))
        except grpc.RpcError as error:
            raise _failure(error) from None

    def close(self) -> None:
        """Close the connection."""
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class AsyncClient:
    """The same calls for asyncio."""

    predict = _awaitable(calls.predict)
    classify = _awaitable(calls.classify)
    regress = _awaitable(calls.regress)
    status = _awaitable(calls.status)
    metadata = _awaitable(calls.metadata)

    def __init__(
        self,
        address: str,
        *,
        credentials: grpc.ChannelCredentials | None = None,
        timeout_s: float = TIMEOUT_S,
        token: str = "",
    ) -> None:
        self._timeout_s = timeout_s
        self._metadata = _authorization(token)
        if credentials is None:
            self._channel = grpc.aio.insecure_channel(address, options=OPTIONS)
        else:
            self._channel = grpc.aio.secure_channel(address, credentials, options=OPTIONS)

    async def send(self, call: ClientCall[T]) -> T:
        """Make a call and wait for its answer."""
        send = self._channel.unary_unary(call.path)
        try:
            timeout_s = call.timeout_s or self._timeout_s
            return call.read(await send(call.body, timeout=timeout_s, metadata=self._metadata))
        except grpc.RpcError as error:
            raise _failure(error) from None

    async def close(self) -> None:
        """Close the connection."""
        await self._channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
