"""A request and its answer as a record of the request log (TensorFlow Serving, PredictionLog).

Messages of TensorFlow Serving's services are copied as they came. Whatever came otherwise, over REST or in the Open
Inference Protocol, is logged as the request of these services that says the same, so that every log can become a
warm-up file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from google.protobuf.message import DecodeError, Message

from core.config.model_config import LoggingConfig
from core.config.models_text import logging_message
from core.errors import ServingError
from core.grpc.model_spec import peek
from core.inference.protobuf_wire import length_delimited, tag
from core.inference.signature import DEFAULT_SIGNATURE, ServedModel
from core.protos import prediction_log_pb2, serving_pb2
from core.recording.oip_as_predict import grpc_infer_messages, rest_infer_messages
from core.recording.rest_as_grpc import LoggedMessages, classify_messages, predict_messages, regress_messages
from core.routing.transport import Headers, Method

_METADATA_TAG: Final = tag(1)
_REQUEST_TAG: Final = tag(1)
_RESPONSE_TAG: Final = tag(2)


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request that was answered; `at_s` is the time of the answer, in seconds since 1970.

    `headers` are those that the configuration chooses; a record does not hold them.
    """

    method: Method
    body: bytes | bytearray
    answer: bytes | bytearray
    at_s: float
    headers: Headers = ()


@dataclass(frozen=True, slots=True)
class LogOrigin:
    """What all records of a log have in common."""

    config: LoggingConfig
    tags: frozenset[str] = frozenset()
    dc: str = ""


@dataclass(frozen=True, slots=True)
class _Kind:
    """How requests are logged: the field of PredictionLog, the class of answers, and the translation of bodies."""

    field: str
    response: type[Message]
    translate: Callable[[ServedModel, bytes], LoggedMessages] | None = None
    names_signature: bool = True


_KINDS: Final[Mapping[Method, _Kind]] = MappingProxyType(
    {
        Method.PREDICT: _Kind("predict_log", serving_pb2.PredictResponse),
        Method.CLASSIFY: _Kind("classify_log", serving_pb2.ClassificationResponse),
        Method.REGRESS: _Kind("regress_log", serving_pb2.RegressionResponse),
        Method.MULTI_INFERENCE: _Kind("multi_inference_log", serving_pb2.MultiInferenceResponse, names_signature=False),
        Method.SESSION_RUN: _Kind("session_run_log", serving_pb2.SessionRunResponse, names_signature=False),
        Method.REST_PREDICT: _Kind("predict_log", serving_pb2.PredictResponse, predict_messages),
        Method.REST_CLASSIFY: _Kind("classify_log", serving_pb2.ClassificationResponse, classify_messages),
        Method.REST_REGRESS: _Kind("regress_log", serving_pb2.RegressionResponse, regress_messages),
        Method.OIP_REST_INFER: _Kind("predict_log", serving_pb2.PredictResponse, rest_infer_messages),
        Method.OIP_INFER: _Kind("predict_log", serving_pb2.PredictResponse, grpc_infer_messages),
    }
)
LOGGED_METHODS: Final = frozenset(_KINDS)
"""The methods whose requests are logged; the others only describe the model."""

_NUMBER: Final[Mapping[str, int]] = MappingProxyType(
    {field.name: field.number for field in prediction_log_pb2.PredictionLog.DESCRIPTOR.fields}
)


def prediction_log(model: ServedModel, exchange: Exchange, origin: LogOrigin) -> bytes:
    """Serialize the record of an exchange; raises ServingError for a body that cannot be read.

    An answer that readers of the log could not parse, because of labels that are not UTF-8, is left out.
    """
    kind = _KINDS[exchange.method]
    request, response = _messages(kind, model, exchange)
    metadata = _metadata(origin)
    signature = peek(request).signature if kind.names_signature else None
    metadata.model_spec.CopyFrom(logged_spec(model.name, signature, model.version))
    metadata.timestamp_secs = int(exchange.at_s)
    log = length_delimited(_REQUEST_TAG, request) + length_delimited(_RESPONSE_TAG, response)
    return b"".join(
        (
            length_delimited(_METADATA_TAG, metadata.SerializeToString()),
            length_delimited(tag(_NUMBER[kind.field]), log),
        )
    )


def logged_spec(name: str, signature: str | None, version: int | None) -> serving_pb2.ModelSpec:
    """Name the model, version and signature that answered; None for a method that knows no signature, or no version."""
    spec = serving_pb2.ModelSpec(name=name)
    if signature is not None:
        spec.signature_name = signature or DEFAULT_SIGNATURE
    if version is not None:
        spec.version.value = version
    return spec


def _metadata(origin: LogOrigin) -> prediction_log_pb2.LogMetadata:
    return prediction_log_pb2.LogMetadata(
        sampling_config=logging_message(origin.config).sampling_config,
        saved_model_tags=sorted(origin.tags),
        dc=origin.dc,
    )


def _messages(kind: _Kind, model: ServedModel, exchange: Exchange) -> tuple[bytes, bytes]:
    if kind.translate is None:
        return bytes(exchange.body), _readable(kind, lambda: bytes(exchange.answer))
    messages = kind.translate(model, bytes(exchange.body))
    return messages.request, _readable(kind, lambda: messages.response(bytes(exchange.answer)))


def _readable(kind: _Kind, make: Callable[[], bytes]) -> bytes:
    """Return the message of an answer; empty if it cannot be made or read, as the request matters more."""
    try:
        response = make()
        kind.response.FromString(response)
    except (ServingError, DecodeError):
        return b""
    return response
