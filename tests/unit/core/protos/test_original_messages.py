"""Our wire messages against TensorFlow's own: names, numbers, types, and the JSON that protobuf prints of them."""

from __future__ import annotations

import json
import random
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor
from google.protobuf.descriptor_pool import DescriptorPool

from core.grpc.metadata import respond
from core.inference.dtypes import REFERENCE, DataType
from core.inference.signature import ServedModel
from core.protos import serving_pb2, tensor_pb2
from core.rest.metadata import metadata_body
from tests.support.original_messages import (
    enum_values,
    field_facts,
    filled,
    original_pool,
    own_messages,
    reachable,
)

OURS, THEIRS = "ray_model_server.tensorflow", "tensorflow"
PROTOS = [
    "tensorflow/core/protobuf/meta_graph.proto",
    "tensorflow/core/protobuf/saved_model.proto",
    "tensorflow/core/protobuf/named_tensor.proto",
    "tensorflow/core/example/example.proto",
]
CUT_DOWN = {"MetaGraphDef", "MetaGraphDef.MetaInfoDef", "SavedModel"}
"""Messages that are read and never shown; what they leave out is passed over."""

OWN_ONLY = frozenset({"SavedModelOperations", "RunOptions"})
"""Views of ours on TensorFlow's messages, for reading or writing a few of their fields."""


@pytest.fixture(scope="module")
def originals() -> DescriptorPool:
    """TensorFlow's messages."""
    spec = find_spec("tensorflow")
    assert spec is not None
    assert spec.origin is not None
    return original_pool(Path(spec.origin).parents[1], PROTOS)


@pytest.mark.parametrize(
    "own", own_messages(tensor_pb2.DESCRIPTOR, OWN_ONLY), ids=lambda one: one.full_name.removeprefix(OURS + ".")
)
def test_our_messages_are_tensorflows(originals: DescriptorPool, own: Descriptor) -> None:
    """Field by field; those that are shown to anyone leave none out."""
    name = own.full_name.removeprefix(OURS + ".")
    facts = field_facts(own, OURS)
    expected = field_facts(originals.FindMessageTypeByName(f"{THEIRS}.{name}"), THEIRS)

    if name in CUT_DOWN:
        expected = {number: one for number, one in expected.items() if number in facts}
    assert facts == expected


def test_signatures_contain_whole_messages_only() -> None:
    """All that metadata may show is compared above."""
    shown = {one.full_name.removeprefix(OURS + ".") for one in reachable(tensor_pb2.SignatureDef.DESCRIPTOR)}

    assert not shown & CUT_DOWN
    assert {"TypeSpecProto", "StructuredValue", "ResourceHandleProto", "VariantTensorDataProto"} <= shown


def test_data_types_are_tensorflows(originals: DescriptorPool) -> None:
    """All of them, with the references of TensorFlow 1."""
    theirs = enum_values(originals.FindEnumTypeByName("tensorflow.DataType"))

    assert dict(tensor_pb2.DataType.items()) == theirs
    assert {one.wire_name: one.value for one in DataType} == {name: n for name, n in theirs.items() if n < REFERENCE}


def printed_by_tensorflow(originals: DescriptorPool, chance: random.Random) -> tuple[bytes, dict[str, Any]]:
    """Return signatures as TensorFlow's messages hold them, serialized and as protobuf prints them."""
    signature = filled(originals.FindMessageTypeByName("tensorflow.SignatureDef"), chance)
    wire = serving_pb2.SignatureDefMap()
    wire.signature_def["serving_default"].MergeFromString(signature.SerializeToString())
    document = json_format.MessageToDict(
        signature, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    return wire.SerializeToString(deterministic=True), {"serving_default": document}


@pytest.mark.parametrize("seed", range(20))
def test_metadata_is_printed_as_protobuf_prints_tensorflows_messages(originals: DescriptorPool, seed: int) -> None:
    """Whatever a signature holds: composite tensors, defaults of any type, numbers that JSON lacks."""
    wire, expected = printed_by_tensorflow(originals, random.Random(seed))

    printed = json.loads(metadata_body(ServedModel("m", 1, {}, wire)))

    assert printed["metadata"]["signature_def"]["signature_def"] == expected


@pytest.mark.parametrize("seed", range(3))
def test_metadata_over_grpc_is_what_the_model_declares(originals: DescriptorPool, seed: int) -> None:
    """Packed under TensorFlow Serving's name, so that its clients can unpack it, and not a byte is lost."""
    wire, _ = printed_by_tensorflow(originals, random.Random(seed))
    request = serving_pb2.GetModelMetadataRequest(model_spec={"name": "m"}, metadata_field=["signature_def"])

    response = serving_pb2.GetModelMetadataResponse.FromString(
        respond(ServedModel("m", 1, {}, wire), request.SerializeToString())
    )

    packed = response.metadata["signature_def"]
    assert packed.type_url == "type.googleapis.com/tensorflow.serving.SignatureDefMap"
    assert packed.value == wire
