"""The client for asyncio."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

import grpc
import grpc.aio

from ray_model_client import calls, infer_calls
from ray_model_client.calls import ClientCall
from ray_model_client.channel import OPTIONS, TIMEOUT_S, described, metadata_of, server_error

if TYPE_CHECKING:
    from typing import Self  # since Python 3.11

P = ParamSpec("P")
T = TypeVar("T")


def _awaitable(make: Callable[P, ClientCall[T]]) -> Callable[Concatenate[AsyncClient, P], Awaitable[T]]:
    def method(self: AsyncClient, /, *args: P.args, **kwargs: P.kwargs) -> Awaitable[T]:
        return self.send(make(*args, **kwargs))

    return described(method, make, "Awaitable[%s]")


class AsyncClient:
    """The same calls as `Client`, to `await`; belongs to the event loop in which it was made."""

    predict = _awaitable(calls.predict)
    classify = _awaitable(calls.classify)
    regress = _awaitable(calls.regress)
    status = _awaitable(calls.status)
    metadata = _awaitable(calls.metadata)
    infer = _awaitable(infer_calls.infer)
    is_live = _awaitable(infer_calls.is_live)
    is_ready = _awaitable(infer_calls.is_ready)
    is_model_ready = _awaitable(infer_calls.is_model_ready)
    describe_server = _awaitable(infer_calls.describe_server)
    describe_model = _awaitable(infer_calls.describe_model)

    def __init__(
        self,
        address: str,
        *,
        credentials: grpc.ChannelCredentials | None = None,
        token: str | None = None,
        timeout_s: float = TIMEOUT_S,
        waits: bool = False,
    ) -> None:
        self._timeout_s = timeout_s
        self._waits = waits
        self._metadata = metadata_of(token)
        if credentials is None:
            self._channel = grpc.aio.insecure_channel(address, options=OPTIONS)
        else:
            self._channel = grpc.aio.secure_channel(address, credentials, options=OPTIONS)

    async def send(self, call: ClientCall[T]) -> T:
        """Make a call and wait for its answer."""
        send = self._channel.unary_unary(call.path)
        timeout_s = self._timeout_s if call.timeout_s is None else call.timeout_s
        try:
            answer = await send(call.body, timeout=timeout_s, metadata=self._metadata, wait_for_ready=self._waits)
        except grpc.RpcError as error:
            raise server_error(error) from None
        return call.read(answer)

    async def close(self) -> None:
        """Close the connection."""
        await self._channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
