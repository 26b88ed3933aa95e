"""What TFX 1.21's InfraValidator does to a model server: its environment, its mount, its questions and its patience.

Facts of `tfx.components.infra_validator`: `serving_bins`, `local_docker_runner`, `tensorflow_serving_client` and
`request_builder`.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping
from pathlib import Path

import grpc
from google.protobuf.message import Message

from core.protos import serving_pb2, tensor_pb2

MODEL_NAME = "infra-validation-model"
MOUNT = "/model"
VERSION = 1
STOPPED_WITHIN_S = 10.0
"""Docker kills what has not ended so long after SIGTERM."""

_METHODS: Mapping[type[Message], tuple[str, type[Message]]] = {
    serving_pb2.PredictRequest: ("Predict", serving_pb2.PredictResponse),
    serving_pb2.ClassificationRequest: ("Classify", serving_pb2.ClassificationResponse),
    serving_pb2.RegressionRequest: ("Regress", serving_pb2.RegressionResponse),
}


class ModelState(enum.Enum):
    """What InfraValidator makes of an answer; UNAVAILABLE is a failed validation, whatever comes later."""

    NOT_READY = 1
    READY = 2
    UNAVAILABLE = 3


def environment() -> Mapping[str, str]:
    """Return the variables of the container."""
    return {"MODEL_NAME": MODEL_NAME, "MODEL_BASE_PATH": MOUNT, "TF_CPP_MAX_VLOG_LEVEL": "3"}


def flags(variables: Mapping[str, str], mount: Path, grpc_port: int, rest_port: int) -> tuple[str, ...]:
    """Return the flags that the entry point of TensorFlow Serving's image makes of these variables."""
    base_path = f"{mount}/{variables['MODEL_NAME']}"
    return (
        f"--port={grpc_port}",
        f"--rest_api_port={rest_port}",
        f"--model_name={variables['MODEL_NAME']}",
        f"--model_base_path={base_path}",
    )


def model_state(answer: serving_pb2.GetModelStatusResponse) -> ModelState:
    """Read an answer of GetModelStatus: all versions are available, or one has ended."""
    states = [one.state for one in answer.model_version_status]
    if not states:
        return ModelState.NOT_READY
    if all(state == serving_pb2.ModelVersionStatus.AVAILABLE for state in states):
        return ModelState.READY
    ended = serving_pb2.ModelVersionStatus.END in states
    return ModelState.UNAVAILABLE if ended else ModelState.NOT_READY


def asked_state(channel: grpc.Channel) -> ModelState:
    """Ask for the state as InfraValidator does; any error means that it asks again."""
    request = serving_pb2.GetModelStatusRequest(model_spec=serving_pb2.ModelSpec(name=MODEL_NAME))
    try:
        raw = _call(channel, "ModelService/GetModelStatus", request)
    except grpc.RpcError:
        return ModelState.NOT_READY
    return model_state(serving_pb2.GetModelStatusResponse.FromString(raw))


def requests(record: bytes) -> Iterator[Message]:
    """Yield the requests that it makes of a serialized example, for signatures of each method."""
    predict = serving_pb2.PredictRequest(model_spec=_spec("predict"))
    predict.inputs["examples"].CopyFrom(
        tensor_pb2.TensorProto(
            dtype=tensor_pb2.DT_STRING,
            tensor_shape=tensor_pb2.TensorShapeProto(dim=[tensor_pb2.TensorShapeProto.Dim(size=1)]),
            string_val=[record],
        )
    )
    yield predict
    example = tensor_pb2.Example.FromString(record)
    examples = serving_pb2.Input(example_list=serving_pb2.ExampleList(examples=[example]))
    yield serving_pb2.ClassificationRequest(model_spec=_spec("classification"), input=examples)
    yield serving_pb2.RegressionRequest(model_spec=_spec("regression"), input=examples)


def answered(channel: grpc.Channel, request: Message) -> Message:
    """Send a request; any error fails the validation."""
    method, response = _METHODS[type(request)]
    return response.FromString(_call(channel, f"PredictionService/{method}", request))


def _spec(signature: str) -> serving_pb2.ModelSpec:
    return serving_pb2.ModelSpec(name=MODEL_NAME, signature_name=signature)


def _call(channel: grpc.Channel, method: str, request: Message) -> bytes:
    raw: bytes = channel.unary_unary(f"/tensorflow.serving.{method}")(request.SerializeToString(), timeout=30)
    return raw
