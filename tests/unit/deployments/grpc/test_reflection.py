"""Reflection over a real channel, as grpcurl and its like use it: no protos but what the server tells."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor, MethodDescriptor
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from tests.support.doors.grpc_stack import GrpcStack

SERVICES = {
    "grpc.health.v1.Health": {"Check", "Watch", "List"},
    "grpc.reflection.v1.ServerReflection": {"ServerReflectionInfo"},
    "grpc.reflection.v1alpha.ServerReflection": {"ServerReflectionInfo"},
    "inference.GRPCInferenceService": {
        *("ServerLive", "ServerReady", "ServerMetadata", "ModelReady", "ModelMetadata", "ModelInfer"),
        *("ModelStatistics", "RepositoryIndex", "RepositoryModelLoad", "RepositoryModelUnload"),
    },
    "ray_model_server.Admin": {"GetConfig", "ChangeConfig", "GetStatus", "Profile", "ChangeRollout"},
    "tensorflow.serving.ModelService": {"GetModelStatus", "HandleReloadConfigRequest"},
    "tensorflow.serving.PredictionService": {"Predict", "Classify", "Regress", "MultiInference", "GetModelMetadata"},
    "tensorflow.serving.SessionService": {"SessionRun"},
}


@pytest.fixture(scope="module")
def channel(saved_models: Path) -> Iterator[grpc.Channel]:
    with (
        GrpcStack(saved_models, {"half_plus_two": 1}) as stack,
        grpc.insecure_channel(f"127.0.0.1:{stack.port}") as opened,
    ):
        yield opened


@pytest.fixture
def told(channel: grpc.Channel) -> DescriptorPool:
    """What the server tells, and nothing else."""
    return DescriptorPool(ProtoReflectionDescriptorDatabase(channel))


def method(told: DescriptorPool, service: str, name: str) -> MethodDescriptor:
    return told.FindServiceByName(service).FindMethodByName(name)


def call(channel: grpc.Channel, described: MethodDescriptor, fields: dict[str, object]) -> Message:
    """Call a method with nothing but its description."""
    request = message_factory.GetMessageClass(described.input_type)(**fields)
    answer = message_factory.GetMessageClass(described.output_type)
    path = f"/{described.containing_service.full_name}/{described.name}"
    return answer.FromString(channel.unary_unary(path)(request.SerializeToString(), timeout=60))


def messages_of(message: Descriptor, seen: set[str]) -> set[str]:
    """Walk through all messages that a message is made of."""
    if message.full_name not in seen:
        seen.add(message.full_name)
        for field in message.fields:
            if field.message_type is not None:
                messages_of(field.message_type, seen)
    return seen


def test_every_service_is_listed_and_described(channel: grpc.Channel, told: DescriptorPool) -> None:
    """Health and reflection among them; no method that cannot be called is there, and none is missing."""
    listed = ProtoReflectionDescriptorDatabase(channel).get_services()

    described = {name: {one.name for one in told.FindServiceByName(name).methods} for name in listed}

    assert described == SERVICES


def test_every_message_can_be_resolved(told: DescriptorPool) -> None:
    """Down to the last field; the type inside of GetModelMetadata's answer too, although no field names it."""
    seen: set[str] = set()
    for service in SERVICES:
        for one in told.FindServiceByName(service).methods:
            messages_of(one.input_type, seen)
            messages_of(one.output_type, seen)

    assert {"tensorflow.TensorProto", "tensorflow.Example", "google.protobuf.Any"} <= seen
    assert told.FindMessageTypeByName("tensorflow.serving.SignatureDefMap").fields_by_name["signature_def"]


def test_a_call_that_is_built_from_reflection_alone_is_answered(channel: grpc.Channel, told: DescriptorPool) -> None:
    """Maps, nested messages and wrapped versions are described as they are on the wire."""
    predict = method(told, "tensorflow.serving.PredictionService", "Predict")
    tensor = {"dtype": 1, "tensor_shape": {"dim": [{"size": 2}]}, "float_val": [2.0, 4.0]}
    spec = {"name": "half_plus_two", "version": {"value": 1}}

    answer = call(channel, predict, {"model_spec": spec, "inputs": {"x": tensor}})

    assert answer.outputs["y"].float_val == [3.0, 4.0]
    assert answer.model_spec.signature_name == "serving_default"


def test_an_inference_of_version_2_that_is_built_from_reflection_alone_is_answered(
    channel: grpc.Channel, told: DescriptorPool
) -> None:
    """Typed contents come back, which a tool can show."""
    infer = method(told, "inference.GRPCInferenceService", "ModelInfer")
    tensor = {"name": "x", "datatype": "FP32", "shape": [2], "contents": {"fp32_contents": [2.0, 4.0]}}

    answer = call(channel, infer, {"model_name": "half_plus_two", "inputs": [tensor]})

    assert answer.outputs[0].contents.fp32_contents == [3.0, 4.0]
    assert answer.model_version == "1"


def test_status_and_metadata_can_be_read_by_reflection(channel: grpc.Channel, told: DescriptorPool) -> None:
    """Enumerations have their names, and the packed signatures their type."""
    status = call(
        channel,
        method(told, "tensorflow.serving.ModelService", "GetModelStatus"),
        {"model_spec": {"name": "half_plus_two"}},
    )
    metadata = call(
        channel,
        method(told, "tensorflow.serving.PredictionService", "GetModelMetadata"),
        {"model_spec": {"name": "half_plus_two"}, "metadata_field": ["signature_def"]},
    )

    states = status.model_version_status[0].DESCRIPTOR.fields_by_name["state"].enum_type.values_by_number
    assert states[status.model_version_status[0].state].name == "AVAILABLE"
    packed = metadata.metadata["signature_def"]
    known = told.FindMessageTypeByName(packed.type_url.rpartition("/")[2])
    assert "serving_default" in message_factory.GetMessageClass(known).FromString(packed.value).signature_def


def test_health_can_be_checked_by_reflection(channel: grpc.Channel, told: DescriptorPool) -> None:
    """Its messages are described too."""
    answer = call(channel, method(told, "grpc.health.v1.Health", "Check"), {"service": "model/half_plus_two"})

    assert answer.status == health_pb2.HealthCheckResponse.SERVING


@pytest.mark.parametrize("package", ["grpc.reflection.v1alpha", "grpc.reflection.v1"])
def test_both_generations_of_reflection_answer(channel: grpc.Channel, package) -> None:
    """Tools know one or the other; what is not there is told as NOT_FOUND."""
    ask = channel.stream_stream(
        f"/{package}.ServerReflection/ServerReflectionInfo",
        reflection_pb2.ServerReflectionRequest.SerializeToString,
        reflection_pb2.ServerReflectionResponse.FromString,
    )
    question = reflection_pb2.ServerReflectionRequest

    services, missing = ask(iter([question(list_services=""), question(file_containing_symbol="foo.Bar")]), timeout=60)

    assert {one.name for one in services.list_services_response.service} == set(SERVICES)
    assert missing.error_response.error_code == grpc.StatusCode.NOT_FOUND.value[0]
