"""What is asked of the servers: the same numbers every time, in each protocol's own form."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import orjson

from core.inference.tensor_proto import to_array, to_proto
from core.oip.rest_body import JSON_LENGTH_HEADER
from core.protos import oip_pb2, serving_pb2

REST = "REST"
GRPC = "gRPC"
V2 = "v2 REST"
V2_BINARY = "v2 REST, binary"
V2_GRPC = "v2 gRPC"
OVER_GRPC = frozenset({GRPC, V2_GRPC})
PREDICT = "/tensorflow.serving.PredictionService/Predict"
INFER = "/inference.GRPCInferenceService/ModelInfer"


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
INPUTS = {"mlp": "features", "image": "image", "copy": "image", "resnet": "image", "lengths": "text", "echo": "x"}
IMAGE = (1, 224, 224, 3)

ALL = (
    Workload("tiny", REST, "mlp", (1, 32), (1, 16, 64)),
    Workload("tiny-grpc", GRPC, "mlp", (1, 32), (1, 16, 64)),
    Workload("tiny-v2", V2, "mlp", (1, 32), (1, 16, 64)),
    Workload("tiny-v2-grpc", V2_GRPC, "mlp", (1, 32), (1, 16, 64)),
    Workload("python", REST, "echo", (1, 32), (16,)),
    Workload("python-grpc", GRPC, "echo", (1, 32), (16,)),
    Workload("image", REST, "image", IMAGE, (1, 16)),
    Workload("rows64", REST, "mlp", (64, 32), (1, 16, 64)),
    Workload("strings", REST, "lengths", (100,), (1, 16, 64)),
    Workload("image-grpc", GRPC, "image", IMAGE, (1, 16)),
    Workload("image-v2", V2, "image", IMAGE, (1, 16)),
    Workload("image-v2-binary", V2_BINARY, "image", IMAGE, (1, 16)),
    Workload("image-v2-grpc", V2_GRPC, "image", IMAGE, (1, 16)),
    Workload("resnet-grpc", GRPC, "resnet", IMAGE, (1, 4)),
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


def _v2_tensor(workload: Workload) -> dict[str, object]:
    return {
        "name": INPUTS[workload.model],
        "shape": workload.shape,
        "datatype": "BYTES" if workload.is_text else "FP32",
    }


def v2_body(workload: Workload) -> bytes:
    """Return the request of the Open Inference Protocol in JSON."""
    tensor = {**_v2_tensor(workload), "data": _flat(workload)}
    return orjson.dumps({"id": "1", "inputs": [tensor]}, option=orjson.OPT_SERIALIZE_NUMPY)


def _v2_binary_json(workload: Workload) -> bytes:
    tensor = {**_v2_tensor(workload), "parameters": {"binary_data_size": workload.array.nbytes}}
    return orjson.dumps({"id": "1", "inputs": [tensor], "parameters": {"binary_data_output": True}})


def v2_binary_body(workload: Workload) -> bytes:
    """Return the request with the tensor's bytes behind the JSON."""
    return _v2_binary_json(workload) + workload.array.tobytes()


def _flat(workload: Workload) -> np.ndarray | list[str]:
    values = _values(workload)
    return values if isinstance(values, list) else values.ravel()


def v2_values(body: bytes) -> np.ndarray:
    """Read an answer of one output, in JSON or behind it."""
    document, end = json.JSONDecoder().raw_decode(body.decode("latin-1"))
    (output,) = document["outputs"]
    return np.array(output["data"], np.float32).ravel() if "data" in output else np.frombuffer(body[end:], np.float32)


def v2_grpc_request(workload: Workload) -> bytes:
    request = oip_pb2.ModelInferRequest(model_name=workload.model, id="1")
    request.inputs.add(**_v2_tensor(workload))
    request.raw_input_contents.append(workload.array.tobytes())
    return request.SerializeToString()


def v2_grpc_values(answer: bytes) -> np.ndarray:
    message = oip_pb2.ModelInferResponse.FromString(answer)
    if message.raw_output_contents:
        return np.frombuffer(message.raw_output_contents[0], np.float32)
    return np.array(message.outputs[0].contents.fp32_contents, np.float32)


def grpc_request(workload: Workload) -> bytes:
    request = serving_pb2.PredictRequest()
    request.model_spec.name = workload.model
    tensor = to_proto(workload.array, as_content=True)
    request.inputs[INPUTS[workload.model]].CopyFrom(tensor)
    return request.SerializeToString()


def grpc_values(answer: bytes) -> np.ndarray:
    outputs = serving_pb2.PredictResponse.FromString(answer).outputs
    return np.concatenate([to_array(tensor).ravel() for tensor in outputs.values()])


@dataclass(frozen=True)
class Form:
    """How a protocol asks: path, body and further headers of a request, and the numbers of an answer."""

    path: Callable[[Workload], str]
    body: Callable[[Workload], bytes]
    values: Callable[[bytes], np.ndarray]
    headers: Callable[[Workload], str] = lambda _: "Content-Type: application/json\r\n"


def _v2_path(workload: Workload) -> str:
    return f"/v2/models/{workload.model}/infer"


def _binary_headers(workload: Workload) -> str:
    length = len(_v2_binary_json(workload))
    return f"Content-Type: application/octet-stream\r\n{JSON_LENGTH_HEADER}: {length}\r\n"


FORMS: Mapping[str, Form] = {
    REST: Form(lambda one: f"/v1/models/{one.model}:predict", rest_body, rest_values),
    GRPC: Form(lambda _: PREDICT, grpc_request, grpc_values),
    V2: Form(_v2_path, v2_body, v2_values),
    V2_BINARY: Form(_v2_path, v2_binary_body, v2_values, _binary_headers),
    V2_GRPC: Form(lambda _: INFER, v2_grpc_request, v2_grpc_values),
}
