"""GetModelMetadata: the signatures of a servable, as its SavedModel declares them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from google.protobuf.message import DecodeError

from core.errors import DataLoss, InvalidArgument
from core.grpc.model_spec import require_name
from core.inference.protobuf_wire import parse_message
from core.inference.signature import ServedModel, Signature, signature
from core.protos import serving_pb2

SIGNATURE_DEF: Final = "signature_def"
TYPE_URL: Final = "type.googleapis.com/tensorflow.serving.SignatureDefMap"
"""Clients unpack by TensorFlow Serving's message name; ours would mean nothing to them."""


def respond(model: ServedModel, body: bytes) -> bytes:
    """Answer a serialized GetModelMetadataRequest."""
    check_metadata_request(body)
    response = serving_pb2.GetModelMetadataResponse()
    response.model_spec.name = model.name
    response.model_spec.version.value = model.version
    packed = response.metadata[SIGNATURE_DEF]
    packed.type_url = TYPE_URL
    packed.value = model.signature_def_map
    return response.SerializeToString()


def check_metadata_request(body: bytes) -> None:
    """Check what can be checked before the model is looked up, in TensorFlow Serving's order."""
    request = parse_message(serving_pb2.GetModelMetadataRequest, body)
    if not request.HasField("model_spec"):
        raise InvalidArgument("Missing ModelSpec")
    if not request.metadata_field:
        raise InvalidArgument("GetModelMetadataRequest must specify at least one metadata_field")
    for field in request.metadata_field:
        if field != SIGNATURE_DEF:
            raise InvalidArgument(f"Metadata field {field} is not supported")
    require_name(request.model_spec.name)


def metadata_request(model: str, version: int) -> bytes:
    """Return the serialized GetModelMetadataRequest that asks for the signatures of a version."""
    request = serving_pb2.GetModelMetadataRequest(metadata_field=[SIGNATURE_DEF])
    request.model_spec.name = model
    request.model_spec.version.value = version
    return request.SerializeToString()


def read_metadata_answer(body: bytes) -> Mapping[str, Signature]:
    """Return the signatures in a serialized GetModelMetadataResponse; raises DataLoss for another message."""
    try:
        answer = serving_pb2.GetModelMetadataResponse.FromString(body)
        definitions = serving_pb2.SignatureDefMap.FromString(answer.metadata[SIGNATURE_DEF].value)
        return MappingProxyType({key: signature(one) for key, one in definitions.signature_def.items()})
    except (DecodeError, InvalidArgument):
        raise DataLoss("The answer is not a GetModelMetadataResponse with signatures") from None
