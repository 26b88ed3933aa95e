"""Asks a server by the Open Inference Protocol, in any of its forms."""

from __future__ import annotations

from typing import Any, Self

import grpc
import numpy as np

from core.routing.transport import Method
from tests.support.clients import RestClient
from tests.support.infer_bodies import FORMS, Arrays, grpc_arrays, http_arrays, named, over_http

MODEL_INFER = "/inference.GRPCInferenceService/ModelInfer"


class RefusedInference(Exception):
    """A request that was answered with an error: status and text."""


class InferClient:
    """A client of both ports of one server; a context manager."""

    def __init__(self, rest_port: int, grpc_port: int, **options: Any) -> None:
        self._rest = RestClient(rest_port)
        self._channel = grpc.insecure_channel(f"127.0.0.1:{grpc_port}", **options)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._rest.close()
        self._channel.close()

    def infer(
        self, form: str, model: str, arrays: Arrays, *, version: str = "", timeout_s: float = 60.0, **chosen: Any
    ) -> dict[str, np.ndarray]:
        """Return the outputs; raises RefusedInference for an error. `chosen` are outputs and parameters."""
        method, make = FORMS[form]
        body = make(arrays, **chosen)
        if method is Method.OIP_REST_INFER:
            return self._over_rest(body, f"{model}/versions/{version}" if version else model)
        return self._over_grpc(named(body, model, version), timeout_s)

    def _over_rest(self, body: bytes, model: str) -> dict[str, np.ndarray]:
        sent, headers = over_http(body)
        reply = self._rest.send("POST", f"/v2/models/{model}/infer", sent, headers)
        if reply.status != 200:
            raise RefusedInference(reply.status, reply.error)
        return http_arrays(reply.body, reply.headers)

    def _over_grpc(self, message: bytes, timeout_s: float) -> dict[str, np.ndarray]:
        try:
            return grpc_arrays(self._channel.unary_unary(MODEL_INFER)(message, timeout=timeout_s))
        except grpc.RpcError as error:
            raise RefusedInference(error.code(), error.details()) from None
