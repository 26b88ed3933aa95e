"""The blocking client."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

import grpc

from ray_model_client import calls, infer_calls
from ray_model_client.calls import ClientCall
from ray_model_client.channel import OPTIONS, TIMEOUT_S, described, metadata_of, server_error

if TYPE_CHECKING:
    from typing import Self  # since Python 3.11

P = ParamSpec("P")
T = TypeVar("T")


def _blocking(make: Callable[P, ClientCall[T]]) -> Callable[Concatenate[Client, P], T]:
    def method(self: Client, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self.send(make(*args, **kwargs))

    return described(method, make, "%s")


class Client:
    """Calls one server; safe to share between threads. Every method raises ServerError with the server's code.

    `credentials` are gRPC's own, from `grpc.ssl_channel_credentials`; without them nothing is encrypted. `token` is
    sent as `authorization: Bearer`. Calls that find the server UNAVAILABLE are repeated, up to four times within the
    call's time; with `waits`, they wait for the server as long as they may take.
    """

    predict = _blocking(calls.predict)
    classify = _blocking(calls.classify)
    regress = _blocking(calls.regress)
    status = _blocking(calls.status)
    metadata = _blocking(calls.metadata)
    infer = _blocking(infer_calls.infer)
    is_live = _blocking(infer_calls.is_live)
    is_ready = _blocking(infer_calls.is_ready)
    is_model_ready = _blocking(infer_calls.is_model_ready)
    describe_server = _blocking(infer_calls.describe_server)
    describe_model = _blocking(infer_calls.describe_model)

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
            self._channel = grpc.insecure_channel(address, options=OPTIONS)
        else:
            self._channel = grpc.secure_channel(address, credentials, options=OPTIONS)

    def send(self, call: ClientCall[T]) -> T:
        """Make a call and wait for its answer."""
        send = self._channel.unary_unary(call.path)
        timeout_s = self._timeout_s if call.timeout_s is None else call.timeout_s
        try:
            answer = send(call.body, timeout=timeout_s, metadata=self._metadata, wait_for_ready=self._waits)
        except grpc.RpcError as error:
            raise server_error(error) from None
        return call.read(answer)

    def close(self) -> None:
        """Close the connection."""
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
