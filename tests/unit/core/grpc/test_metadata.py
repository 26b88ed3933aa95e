"""Tests of GetModelMetadata."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import DataLoss, InvalidArgument, ServingError
from core.grpc import metadata as grpc_metadata
from core.inference.dtypes import DataType
from core.inference.signature import ServedModel, Signature, TensorSpec, served_model
from core.protos import serving_pb2, tensor_pb2

INIT = tensor_pb2.SignatureDef(outputs={"__saved_model_init_op": tensor_pb2.TensorInfo(name="NoOp")})
MAP = serving_pb2.SignatureDefMap(signature_def={"__saved_model_init_op": INIT})
BAD = tensor_pb2.SignatureDef(defaults={"x": tensor_pb2.TensorProto(dtype=999)})
MODEL = ServedModel("m", 7, {}, MAP.SerializeToString())


def body(*fields: str, name: str | None = "m") -> bytes:
    request = serving_pb2.GetModelMetadataRequest(metadata_field=fields)
    if name is not None:
        request.model_spec.name = name
        request.model_spec.version_label = "stable"
    return request.SerializeToString()


def test_case_E14_all_signatures_are_told() -> None:
    """They are packed under TensorFlow Serving's type, and the version that answers is named."""
    response = serving_pb2.GetModelMetadataResponse.FromString(grpc_metadata.respond(MODEL, body("signature_def")))

    (packed,) = response.metadata.values()
    assert packed.type_url == "type.googleapis.com/tensorflow.serving.SignatureDefMap"
    assert serving_pb2.SignatureDefMap.FromString(packed.value) == MAP
    assert response.model_spec == serving_pb2.ModelSpec(name="m", version={"value": 7})


def test_case_E15_the_init_op_is_told_too() -> None:
    """Its output has no type; clients of TF2 models have always seen it."""
    response = serving_pb2.GetModelMetadataResponse.FromString(grpc_metadata.respond(MODEL, body("signature_def")))

    signatures = serving_pb2.SignatureDefMap.FromString(response.metadata["signature_def"].value).signature_def
    output = signatures["__saved_model_init_op"].outputs["__saved_model_init_op"]
    assert (output.dtype, output.name) == (0, "NoOp")
    assert not signatures["__saved_model_init_op"].method_name


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        pytest.param(body(name=None), "Missing ModelSpec", id="nothing"),
        pytest.param(body(), "GetModelMetadataRequest must specify at least one metadata_field", id="case_E10"),
        pytest.param(body("some_stuff"), "Metadata field some_stuff is not supported", id="case_E11"),
        pytest.param(body("signature_def", "x"), "Metadata field x is not supported", id="second field"),
        pytest.param(body("signature_def", name=None), "Missing ModelSpec", id="case_E12"),
        pytest.param(body("signature_def", name=""), "ModelSpec has no name specified.", id="case_E12 empty name"),
    ],
)
def test_a_request_is_checked_before_the_model(raw, text) -> None:
    """The router can check an envelope without a model."""
    for check in (grpc_metadata.check_metadata_request, lambda sent: grpc_metadata.respond(MODEL, sent)):
        with pytest.raises(InvalidArgument) as raised:
            check(raw)
        assert str(raised.value) == text


@given(st.binary(max_size=40))
def test_any_bytes_are_answered_or_refused(raw) -> None:
    """Random requests never escape as another exception."""
    with contextlib.suppress(ServingError):
        assert grpc_metadata.respond(MODEL, raw)


def test_the_request_that_is_written_is_one_that_is_answered() -> None:
    """It asks a version, by its number, for its signatures, and these are read from the answer."""
    spec = TensorSpec("t:0", DataType.FLOAT, (-1, 4))
    model = served_model("m", 7, {"s": Signature({"x": spec}, {"y": spec})})
    request = grpc_metadata.metadata_request("m", 7)

    assert serving_pb2.GetModelMetadataRequest.FromString(request).model_spec.version.value == 7
    assert grpc_metadata.read_metadata_answer(grpc_metadata.respond(model, request)) == model.signatures


@pytest.mark.parametrize("packed", [b"\xff", serving_pb2.SignatureDefMap(signature_def={"s": BAD}).SerializeToString()])
def test_an_answer_that_is_not_one_of_signatures_is_refused(packed: bytes) -> None:
    """It came over a network; a default that is no tensor would fail deep below."""
    answer = serving_pb2.GetModelMetadataResponse()
    answer.metadata["signature_def"].value = packed

    for body in (b"\xff", answer.SerializeToString()):
        with pytest.raises(DataLoss, match="not a GetModelMetadataResponse"):
            grpc_metadata.read_metadata_answer(body)
