"""Requests that are written here, for logs that hold only messages: arrays and plain values to messages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from core.inference.tensor_proto import to_proto
from core.protos import serving_pb2


@dataclass(frozen=True, slots=True)
class Target:
    """The model and the signature that a request is for."""

    model: str
    signature: str = ""

    def spec(self) -> serving_pb2.ModelSpec:
        """Return the message."""
        return serving_pb2.ModelSpec(name=self.model, signature_name=self.signature)


def predict_request(target: Target, inputs: Mapping[str, ArrayLike]) -> bytes:
    """Serialize a PredictRequest; numeric tensors travel as raw bytes."""
    request = serving_pb2.PredictRequest(model_spec=target.spec())
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
