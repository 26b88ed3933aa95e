"""Requests and answers of the Python client: arrays and plain values to messages and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from core.errors import Code
from core.inference.signature import Signature
from core.inference.signature import signature as read_signature
from core.inference.tensor_proto import to_array, to_proto
from core.protos import serving_pb2, tensor_pb2
from core.versions.lifecycle import State, VersionStatus

FeatureValue = bytes | str | int | float | Sequence[bytes] | Sequence[str] | Sequence[int] | Sequence[float]


@dataclass(frozen=True, slots=True)
class Target:
    """Which model a request is for: at most one of version and label; without both, the latest version."""

    model: str
    version: int | None = None
    label: str | None = None
    signature: str = ""

    def spec(self) -> serving_pb2.ModelSpec:
        """Return the message."""
        spec = serving_pb2.ModelSpec(name=self.model, signature_name=self.signature)
        if self.version is not None:
            spec.version.value = self.version
        elif self.label is not None:
            spec.version_label = self.label
        return spec


def predict_request(target: Target, inputs: Mapping[str, ArrayLike], outputs: Sequence[str] = ()) -> bytes:
    """Serialize a PredictRequest; numeric tensors travel as raw bytes."""
    request = serving_pb2.PredictRequest(model_spec=target.spec(), output_filter=outputs)
    for name, value in inputs.items():
        request.inputs[name].CopyFrom(to_proto(_array(value), as_content=True))
    return request.SerializeToString()


def _array(value: ArrayLike) -> np.ndarray:
    """Make an array; texts become bytes, and Python floats become float32, which most models take."""
    array = np.asarray(value)
    if array.dtype.kind == "U":
        return np.array([text.encode() for text in array.ravel()], dtype=object).reshape(array.shape)
    if array.dtype.kind == "S":
        return array.astype(object)
    if array.dtype == np.float64 and not isinstance(value, np.ndarray | np.generic):
        return array.astype(np.float32)
    return array


def predict_answer(raw: bytes) -> dict[str, np.ndarray]:
    """Read a PredictResponse."""
    return {name: to_array(value) for name, value in serving_pb2.PredictResponse.FromString(raw).outputs.items()}


def examples_request(target: Target, examples: Sequence[Mapping[str, FeatureValue]]) -> bytes:
    """Serialize a ClassificationRequest, whose bytes are those of a RegressionRequest too."""
    request = serving_pb2.ClassificationRequest(model_spec=target.spec())
    for features in examples:
        example = request.input.example_list.examples.add()
        for name, value in features.items():
            _fill(example.features.feature[name], value)
    return request.SerializeToString()


def _fill(feature: tensor_pb2.Feature, value: FeatureValue) -> None:
    values: list[Any] = [value] if isinstance(value, bytes | str | int | float) else list(value)
    if all(isinstance(one, bytes | str) for one in values):
        feature.bytes_list.value.extend(one.encode() if isinstance(one, str) else one for one in values)
    elif all(isinstance(one, int | np.integer) for one in values):
        feature.int64_list.value.extend(int(one) for one in values)
    else:
        feature.float_list.value.extend(float(one) for one in values)


def classify_answer(raw: bytes) -> list[list[tuple[str, float]]]:
    """Read a ClassificationResponse: label and score of each class, for each example."""
    result = serving_pb2.ClassificationResponse.FromString(raw).result
    return [[(one.label, one.score) for one in example.classes] for example in result.classifications]


def regress_answer(raw: bytes) -> list[float]:
    """Read a RegressionResponse: one value for each example."""
    return [one.value for one in serving_pb2.RegressionResponse.FromString(raw).result.regressions]


def status_request(target: Target) -> bytes:
    """Serialize a GetModelStatusRequest."""
    return serving_pb2.GetModelStatusRequest(model_spec=target.spec()).SerializeToString()


def status_answer(raw: bytes) -> list[VersionStatus]:
    """Read a GetModelStatusResponse, newest version first."""
    statuses = serving_pb2.GetModelStatusResponse.FromString(raw).model_version_status
    return [
        VersionStatus(one.version, State(one.state), Code(one.status.error_code), one.status.error_message)
        for one in statuses
    ]


def metadata_request(target: Target) -> bytes:
    """Serialize a GetModelMetadataRequest for the signatures."""
    request = serving_pb2.GetModelMetadataRequest(model_spec=target.spec(), metadata_field=["signature_def"])
    return request.SerializeToString()


def metadata_answer(raw: bytes) -> dict[str, Signature]:
    """Read a GetModelMetadataResponse: the signatures by name."""
    packed = serving_pb2.GetModelMetadataResponse.FromString(raw).metadata["signature_def"]
    definitions = serving_pb2.SignatureDefMap.FromString(packed.value).signature_def
    return {name: read_signature(definition) for name, definition in definitions.items()}
