"""Records of request logs and warm-up files, for half plus two with TensorFlow Serving's classic signatures."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from core.inference.signature import CLASSIFY_METHOD, REGRESS_METHOD
from core.inference.tensor_proto import to_proto
from core.protos import prediction_log_pb2, serving_pb2
from core.recording.tf_record import framed, records
from core.recording.warmup_file import FILE
from tests.support.served_models import example

PredictionLog = prediction_log_pb2.PredictionLog


def predict_request(*values: float, signature: str = "", name: str = "any") -> serving_pb2.PredictRequest:
    """Ask for half plus two of a column of numbers."""
    request = serving_pb2.PredictRequest()
    request.model_spec.name = name
    request.model_spec.signature_name = signature
    request.inputs["x"].CopyFrom(to_proto(np.array(values, np.float32).reshape(-1, 1)))
    return request


def predict_log(*values: float, signature: str = "") -> prediction_log_pb2.PredictionLog:
    """Log a Predict."""
    log = PredictionLog()
    log.predict_log.request.CopyFrom(predict_request(*values, signature=signature))
    return log


def classify_log(*values: float, signature: str = "classify_x_to_y") -> prediction_log_pb2.PredictionLog:
    """Log a Classify."""
    log = PredictionLog()
    log.classify_log.request.model_spec.signature_name = signature
    log.classify_log.request.input.example_list.examples.extend(example(x=value) for value in values)
    return log


def regress_log(*values: float, signature: str = "regress_x_to_y") -> prediction_log_pb2.PredictionLog:
    """Log a Regress."""
    log = PredictionLog()
    log.regress_log.request.model_spec.signature_name = signature
    log.regress_log.request.input.example_list.examples.extend(example(x=value) for value in values)
    return log


def multi_inference_log(*values: float) -> prediction_log_pb2.PredictionLog:
    """Log a MultiInference of two tasks."""
    log = PredictionLog()
    request = log.multi_inference_log.request
    for signature, method in (("regress_x_to_y", REGRESS_METHOD), ("classify_x_to_y", CLASSIFY_METHOD)):
        task = request.tasks.add(method_name=method)
        task.model_spec.name = "any"
        task.model_spec.signature_name = signature
    request.input.example_list.examples.extend(example(x=value) for value in values)
    return log


def session_run_log() -> prediction_log_pb2.PredictionLog:
    """Log a SessionRun, which warm-up does not know."""
    log = PredictionLog()
    log.session_run_log.request.fetch.append("y:0")
    return log


def one_of_each() -> list[prediction_log_pb2.PredictionLog]:
    """Log every kind of request that warm-up replays."""
    return [predict_log(1.0), classify_log(1.0, 2.0), regress_log(3.0), multi_inference_log(4.0)]


def serialized(logs: Iterable[prediction_log_pb2.PredictionLog]) -> list[bytes]:
    """Turn logs into records."""
    return [log.SerializeToString() for log in logs]


def read_logs(folder: Path) -> list[prediction_log_pb2.PredictionLog]:
    """Read all finished files of a request log, in the order of their names."""
    found = []
    for file in sorted(folder.glob("*.tfrecord")):
        with file.open("rb") as stream:
            found += [PredictionLog.FromString(record) for record in records(stream)]
    return found


def write_warm_up(version: Path, records: Sequence[bytes]) -> Path:
    """Put records where a version's warm-up requests are looked for."""
    return write_raw_warm_up(version, b"".join(map(framed, records)))


def write_raw_warm_up(version: Path, content: bytes) -> Path:
    """Put any bytes there."""
    file = version / FILE
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    return file
