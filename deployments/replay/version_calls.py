"""Calls to the versions of one model on a running server, over its gRPC port."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

import grpc

from core.errors import Code, InvalidArgument, RuntimeFailure
from core.grpc.metadata import metadata_request, read_metadata_answer
from core.inference.signature import Signature
from core.replay.replay_tally import VersionReply
from core.replay.version_requests import request_for
from core.routing.transport import Answer, Call, Method

_SERVICE: Final = "/tensorflow.serving.PredictionService/"
_NAMES: Final[Mapping[Method, str]] = MappingProxyType(
    {
        Method.PREDICT: "Predict",
        Method.CLASSIFY: "Classify",
        Method.REGRESS: "Regress",
        Method.MULTI_INFERENCE: "MultiInference",
    }
)


class VersionCalls:
    """Sends requests to versions of a model, each with a time limit."""

    def __init__(
        self, channel: grpc.Channel, metadata: Sequence[tuple[str, str]], model: str, timeout_s: float
    ) -> None:
        self._metadata = metadata
        self._model = model
        self._timeout_s = timeout_s
        self._send: dict[str, Any] = {
            name: channel.unary_unary(_SERVICE + name) for name in (*_NAMES.values(), "GetModelMetadata")
        }

    def signatures(self, version: int) -> Mapping[str, Signature]:
        """Return the signatures of a version; raises RuntimeFailure with the server's code, and DataLoss."""
        reply = self._sent("GetModelMetadata", metadata_request(self._model, version))
        if not reply.is_good:
            raise RuntimeFailure(reply.answer.code, reply.answer.text)
        return read_metadata_answer(bytes(reply.answer.body))

    def ask(self, call: Call, version: int) -> VersionReply:
        """Put a recorded request to a version; an error of the server is an answer, too."""
        try:
            request = request_for(call, self._model, version)
        except InvalidArgument as error:
            return VersionReply(Answer.of(error), 0.0)
        return self._sent(_NAMES[call.method], request)

    def _sent(self, name: str, request: bytes) -> VersionReply:
        began_s = time.perf_counter()
        try:
            body = self._send[name](request, timeout=self._timeout_s, metadata=self._metadata)
        except grpc.RpcError as error:
            text = str(error.details())
            return VersionReply(Answer.error(Code(error.code().value[0]), text), time.perf_counter() - began_s)
        return VersionReply(Answer(Code.OK, body), time.perf_counter() - began_s)
