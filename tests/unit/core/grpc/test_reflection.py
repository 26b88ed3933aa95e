"""Tests of the descriptors that reflection shows."""

from __future__ import annotations

import pytest
from google.protobuf import descriptor_pool, message_factory

from core.grpc.reflection import descriptor_files, reflection_pool
from core.protos import serving_pb2

METHODS = {
    "PredictionService": {"Predict", "Classify", "Regress", "MultiInference", "GetModelMetadata"},
    "ModelService": {"GetModelStatus", "HandleReloadConfigRequest"},
    "SessionService": {"SessionRun"},
}


@pytest.mark.parametrize("service", METHODS)
def test_services_have_the_names_that_clients_call(service) -> None:
    """Messages of the methods are found under TensorFlow Serving's package."""
    found = reflection_pool().FindServiceByName(f"tensorflow.serving.{service}")

    assert {method.name for method in found.methods} == METHODS[service]
    assert all(method.input_type.full_name.startswith("tensorflow.serving.") for method in found.methods)
    assert all(method.output_type.full_name.startswith("tensorflow.serving.") for method in found.methods)


def test_no_name_of_ours_is_left_in_what_others_have_named() -> None:
    """Renaming reaches nested types, maps and dependencies."""
    *copied, own, oip = descriptor_files()

    assert all(b"ray_model_server" not in file.SerializeToString() for file in (*copied, oip))
    assert b"ray_model_server.tensorflow" not in own.SerializeToString()


def test_the_open_inference_protocol_has_the_names_that_clients_call() -> None:
    """Its messages, too; in a pool of their own, so that a client in this process may register them."""
    service = reflection_pool().FindServiceByName("inference.GRPCInferenceService")

    infer = service.methods_by_name["ModelInfer"]
    assert (service.file.name, infer.input_type.full_name) == ("inference.proto", "inference.ModelInferRequest")
    assert infer.output_type.fields_by_name["outputs"].message_type.full_name == (
        "inference.ModelInferResponse.InferOutputTensor"
    )
    with pytest.raises(KeyError):
        descriptor_pool.Default().FindFileByName("inference.proto")


def test_our_own_service_keeps_its_name_and_takes_tensorflows_messages() -> None:
    """A tool can build a change of the list of models from the descriptors."""
    change = reflection_pool().FindServiceByName("ray_model_server.Admin").methods_by_name["ChangeConfig"]

    config = change.input_type.fields_by_name["config"].message_type

    assert change.input_type.full_name == "ray_model_server.ChangeConfigRequest"
    assert config.full_name == "tensorflow.serving.ModelServerConfig"


def test_a_message_made_from_reflection_is_understood() -> None:
    """Tools such as grpcurl build requests from the descriptors."""
    descriptor = reflection_pool().FindMessageTypeByName("tensorflow.serving.PredictRequest")
    made = message_factory.GetMessageClass(descriptor)()
    made.inputs["x"].float_val.append(1.0)

    parsed = serving_pb2.PredictRequest.FromString(made.SerializeToString())

    assert parsed.inputs["x"].float_val == [1.0]


def test_dependencies_come_first() -> None:
    """A pool can take the files in the order given."""
    seen: set[str] = set()
    for file in descriptor_files():
        assert set(file.dependency) <= seen
        seen.add(file.name)
