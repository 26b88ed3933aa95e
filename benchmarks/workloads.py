"""What is asked of the servers: the same numbers every time, as REST bodies and as gRPC requests."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import orjson

from core.inference.tensor_proto import to_array, to_proto
from core.protos import serving_pb2

REST = "REST"
GRPC = "gRPC"
PREDICT = "/tensorflow.serving.PredictionService/Predict"


@dataclass(frozen=True)
class Workload:
    """One request, sent again and again by some clients at a time."""

    name: str
    protocol: str
    model: str
    shape: tuple[int, ...]
    clients: tuple[int, ...]

    @property
    def is_text(self) -> bool:
        return self.model in TEXT_MODELS

    @property
    def array(self) -> np.ndarray:
        if self.is_text:
            return np.array([f"a text of medium length, number {at}" for at in range(math.prod(self.shape))])
        return np.random.default_rng(7).random(self.shape, dtype=np.float32)


TEXT_MODELS = frozenset({"lengths"})
# The tensor's name in each model's serving_default signature.
INPUTS = {"mlp": "features", "image": "image", "resnet": "image", "lengths": "text", "echo": "x"}

ALL = (
    Workload("tiny", REST, "mlp", (1, 32), (1, 16, 64)),
    Workload("tiny-grpc", GRPC, "mlp", (1, 32), (1, 16, 64)),
    Workload("python", REST, "echo", (1, 32), (16,)),
    Workload("python-grpc", GRPC, "echo", (1, 32), (16,)),
    Workload("image", REST, "image", (1, 224, 224, 3), (1, 16)),
    Workload("rows64", REST, "mlp", (64, 32), (1, 16, 64)),
    Workload("strings", REST, "lengths", (100,), (1, 16, 64)),
    Workload("image-grpc", GRPC, "image", (1, 224, 224, 3), (1, 16)),
    Workload("resnet-grpc", GRPC, "resnet", (1, 224, 224, 3), (1, 4)),
)
WORKLOADS = {one.name: one for one in ALL}
DEFAULT = ("tiny", "tiny-grpc", "image", "image-grpc", "rows64", "strings")


def rest_body(workload: Workload) -> bytes:
    return orjson.dumps({"instances": _values(workload)}, option=orjson.OPT_SERIALIZE_NUMPY)


def _values(workload: Workload) -> np.ndarray | list[str]:
    """Return what orjson can write; it knows no arrays of texts."""
    return workload.array.tolist() if workload.is_text else workload.array


def rest_values(body: bytes) -> np.ndarray:
    return np.array(orjson.loads(body)["predictions"], np.float32).ravel()


def v2_body(workload: Workload) -> bytes:
    """Return the request in the Open Inference Protocol, for servers that know no other."""
    tensor = {
        "name": INPUTS[workload.model],
        "shape": workload.shape,
        "datatype": "BYTES" if workload.is_text else "FP32",
        "data": _flat(workload),
    }
    return orjson.dumps({"id": "1", "inputs": [tensor]}, option=orjson.OPT_SERIALIZE_NUMPY)


def _flat(workload: Workload) -> np.ndarray | list[str]:
    values = _values(workload)
    return values if isinstance(values, list) else values.ravel()


def v2_values(body: bytes) -> np.ndarray:
    return np.array(orjson.loads(body)["outputs"][0]["data"], np.float32).ravel()


def grpc_request(workload: Workload) -> bytes:
    request = serving_pb2.PredictRequest()
    request.model_spec.name = workload.model
    tensor = to_proto(workload.array, as_content=True)
    request.inputs[INPUTS[workload.model]].CopyFrom(tensor)
    return request.SerializeToString()


def grpc_values(answer: bytes) -> np.ndarray:
    outputs = serving_pb2.PredictResponse.FromString(answer).outputs
    return np.concatenate([to_array(tensor).ravel() for tensor in outputs.values()])
