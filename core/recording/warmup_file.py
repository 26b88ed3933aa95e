"""Warm-up requests: those that a version brings along and answers before it serves (TensorFlow Serving, warm-up).

They are a request log: records of PredictionLog. Any fault in them fails the load.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import BinaryIO, Final

from google.protobuf.message import DecodeError, Message

from core.errors import DataLoss, InvalidArgument, Unimplemented
from core.inference.protobuf_wire import parse_message
from core.protos import prediction_log_pb2, serving_pb2
from core.recording.tf_record import records
from core.routing.transport import Call, Method

FILE: Final = "assets.extra/tf_serving_warmup_requests"
"""Where a version keeps its warm-up requests, below its own folder."""

MOST_RECORDS: Final = 1000

REPLAYED: Final[Mapping[str, Method]] = MappingProxyType(
    {
        "classify_log": Method.CLASSIFY,
        "regress_log": Method.REGRESS,
        "multi_inference_log": Method.MULTI_INFERENCE,
        "predict_log": Method.PREDICT,
    }
)
"""The kinds of logs whose requests are replayed."""

_REQUEST: Final[Mapping[Method, type[Message]]] = MappingProxyType(
    {
        Method.CLASSIFY: serving_pb2.ClassificationRequest,
        Method.REGRESS: serving_pb2.RegressionRequest,
        Method.MULTI_INFERENCE: serving_pb2.MultiInferenceRequest,
        Method.PREDICT: serving_pb2.PredictRequest,
    }
)
_EMPTY_MODEL_SPEC: Final = b"\x0a\x00"
_SHOWN_BYTES: Final = 256


def replayed_calls(stream: BinaryIO, path: str) -> Iterator[Call | None]:
    """Yield the call of each record, None for a record without a log; raises ServingError for a fault of the file.

    As in TensorFlow Serving, the first record beyond the limit is still yielded; the error comes after it.
    """
    try:
        for number, record in enumerate(records(stream), start=1):
            yield replayed_call(record, path)
            if number > MOST_RECORDS:
                raise InvalidArgument(
                    f"Number of warmup records exceeds the maximum ({MOST_RECORDS}) at {path}",
                )
    except DataLoss as error:
        raise DataLoss(f"{error}. Please verify your warmup data is in TFRecord format.") from None


def replayed_call(record: bytes, path: str) -> Call | None:
    """Return the call of one record, None for a record without a log; raises ServingError for one without a call.

    `path` is for the error text.
    """
    try:
        log = prediction_log_pb2.SerializedPredictionLog.FromString(record)
        kind = log.WhichOneof("log_type")
        if kind is None:
            return None
        if kind in REPLAYED:
            return completed(REPLAYED[kind], getattr(log, kind).request)
    except (DecodeError, InvalidArgument):
        raise InvalidArgument(f"Failed to parse warmup record: {_shown(record)} from {path}") from None
    raise Unimplemented(f"Unsupported log_type for warmup: {log.DESCRIPTOR.fields_by_name[kind].number}")


def recorded_call(call: Call) -> bytes:
    """Return the record from which a call is replayed."""
    kind = next(kind for kind, method in REPLAYED.items() if method is call.method)
    log = prediction_log_pb2.SerializedPredictionLog()
    getattr(log, kind).request = bytes(call.body)
    return log.SerializeToString()


def completed(method: Method, body: bytes) -> Call:
    """Return the call of a request, which need not name a model; raises InvalidArgument if it cannot be parsed."""
    message = parse_message(_REQUEST[method], body)
    if method is Method.MULTI_INFERENCE or message.HasField("model_spec"):
        return Call(method, body)
    return Call(method, body + _EMPTY_MODEL_SPEC)


def _shown(record: bytes) -> str:
    text = record[:_SHOWN_BYTES].decode("utf-8", "backslashreplace")
    return text if len(record) <= _SHOWN_BYTES else f"{text}..."
