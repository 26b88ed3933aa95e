"""A light client: numpy and gRPC, no TensorFlow. For this server and for TensorFlow Serving alike.

    with Client("127.0.0.1:8500") as client:
        client.predict("half_plus_two", {"x": [1.0, 2.0, 5.0]})["y"]

Calls that find the server UNAVAILABLE are repeated by gRPC, up to four times within the call's time.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

import grpc
import numpy as np
from numpy.typing import ArrayLike

from core import client_messages as messages
from core.client_messages import FeatureValue, Target
from core.errors import Code, RuntimeFailure
from core.lifecycle import VersionStatus
from core.signature import Signature

T = TypeVar("T")

PREDICTION = "/tensorflow.serving.PredictionService/"
MODELS = "/tensorflow.serving.ModelService/"
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
    ("grpc.service_config", json.dumps(RETRY_POLICY)),
)


def _failure(error: grpc.RpcError) -> RuntimeFailure:
    """Turn a failed call into our error, with the server's code and text."""
    return RuntimeFailure(Code(error.code().value[0]), str(error.details()))


class Client:
    """Calls one server; safe to share between threads. Every method raises RuntimeFailure with the server's code."""

    def __init__(
        self, address: str, *, credentials: grpc.ChannelCredentials | None = None, timeout_s: float = TIMEOUT_S
    ) -> None:
        self._timeout_s = timeout_s
        if credentials is None:
            self._channel = grpc.insecure_channel(address, options=OPTIONS)
        else:
            self._channel = grpc.secure_channel(address, credentials, options=OPTIONS)

    def _call(self, method: str, request: bytes, read: Callable[[bytes], T]) -> T:
        send = self._channel.unary_unary(method, request_serializer=None, response_deserializer=None)
        try:
            return read(send(request, timeout=self._timeout_s))
        except grpc.RpcError as error:
            raise _failure(error) from None

    def predict(
        self, model: str, inputs: Mapping[str, ArrayLike], *, outputs: Sequence[str] = (), **which: Any
    ) -> dict[str, np.ndarray]:
        """Run a signature on named arrays; `which` may hold `version` or `label`, and `signature`."""
        request = messages.predict_request(Target(model, **which), inputs, outputs)
        return self._call(f"{PREDICTION}Predict", request, messages.predict_answer)

    def classify(
        self, model: str, examples: Sequence[Mapping[str, FeatureValue]], **which: Any
    ) -> list[list[tuple[str, float]]]:
        """Give label and score of every class for each example."""
        request = messages.examples_request(Target(model, **which), examples)
        return self._call(f"{PREDICTION}Classify", request, messages.classify_answer)

    def regress(self, model: str, examples: Sequence[Mapping[str, FeatureValue]], **which: Any) -> list[float]:
        """Give one value for each example."""
        request = messages.examples_request(Target(model, **which), examples)
        return self._call(f"{PREDICTION}Regress", request, messages.regress_answer)

    def status(self, model: str, version: int | None = None) -> list[VersionStatus]:
        """Give the states of a model's versions, newest first."""
        return self._call(
            f"{MODELS}GetModelStatus", messages.status_request(Target(model, version)), messages.status_answer
        )

    def metadata(self, model: str, **which: Any) -> dict[str, Signature]:
        """Give the signatures of a version."""
        request = messages.metadata_request(Target(model, **which))
        return self._call(f"{PREDICTION}GetModelMetadata", request, messages.metadata_answer)

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

    def __init__(
        self, address: str, *, credentials: grpc.ChannelCredentials | None = None, timeout_s: float = TIMEOUT_S
    ) -> None:
        self._timeout_s = timeout_s
        if credentials is None:
            self._channel = grpc.aio.insecure_channel(address, options=OPTIONS)
        else:
            self._channel = grpc.aio.secure_channel(address, credentials, options=OPTIONS)

    async def _call(self, method: str, request: bytes, read: Callable[[bytes], T]) -> T:
        send = self._channel.unary_unary(method, request_serializer=None, response_deserializer=None)
        try:
            return read(await send(request, timeout=self._timeout_s))
        except grpc.RpcError as error:
            raise _failure(error) from None

    async def predict(
        self, model: str, inputs: Mapping[str, ArrayLike], *, outputs: Sequence[str] = (), **which: Any
    ) -> dict[str, np.ndarray]:
        """Run a signature on named arrays; `which` may hold `version` or `label`, and `signature`."""
        request = messages.predict_request(Target(model, **which), inputs, outputs)
        return await self._call(f"{PREDICTION}Predict", request, messages.predict_answer)

    async def classify(
        self, model: str, examples: Sequence[Mapping[str, FeatureValue]], **which: Any
    ) -> list[list[tuple[str, float]]]:
        """Give label and score of every class for each example."""
        request = messages.examples_request(Target(model, **which), examples)
        return await self._call(f"{PREDICTION}Classify", request, messages.classify_answer)

    async def regress(self, model: str, examples: Sequence[Mapping[str, FeatureValue]], **which: Any) -> list[float]:
        """Give one value for each example."""
        request = messages.examples_request(Target(model, **which), examples)
        return await self._call(f"{PREDICTION}Regress", request, messages.regress_answer)

    async def status(self, model: str, version: int | None = None) -> list[VersionStatus]:
        """Give the states of a model's versions, newest first."""
        request = messages.status_request(Target(model, version))
        return await self._call(f"{MODELS}GetModelStatus", request, messages.status_answer)

    async def metadata(self, model: str, **which: Any) -> dict[str, Signature]:
        """Give the signatures of a version."""
        request = messages.metadata_request(Target(model, **which))
        return await self._call(f"{PREDICTION}GetModelMetadata", request, messages.metadata_answer)

    async def close(self) -> None:
        """Close the connection."""
        await self._channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
