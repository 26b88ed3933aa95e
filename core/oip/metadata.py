"""What a model and the server say of themselves: as JSON over REST, and as messages over gRPC."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any, Final

from core.config.extensions import ONNX, TENSORFLOW
from core.errors import InvalidArgument
from core.inference.signature import DEFAULT_SIGNATURE, ServedModel, Signature, TensorSpec
from core.oip.datatypes import datatype_of
from core.protos import oip_pb2

SERVER_NAME: Final = "ray_model_server"
PLATFORMS: Final[Mapping[str, str]] = MappingProxyType(
    {TENSORFLOW.name: "tensorflow_savedmodel", ONNX.name: "onnxruntime_onnx"}
)
"""Triton's words for our platforms; others go by their own names."""
UNKNOWN_RANK: Final = (-1,)
"""The protocol has no form for an unknown rank."""


@dataclass(frozen=True, slots=True)
class MetadataQuery:
    """A router's question to a model server: of which signature, and the versions that the answer lists."""

    versions: tuple[str, ...]
    signature: str = DEFAULT_SIGNATURE

    def to_bytes(self) -> bytes:
        """Write the body of the call; in ASCII, as names may hold bytes that are not UTF-8."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def from_bytes(cls, body: bytes) -> MetadataQuery:
        """Read the body of the call."""
        fields = json.loads(body)
        return cls(tuple(fields["versions"]), fields["signature"])


def metadata_json(model: ServedModel, body: bytes) -> bytes:
    """Answer a query in JSON; raises InvalidArgument for a signature that is not there."""
    query = MetadataQuery.from_bytes(body)
    signature = _signature(model, query)
    document = {
        "name": model.name,
        "versions": query.versions,
        "platform": _platform(model),
        "inputs": _tensors_json(signature.inputs),
        "outputs": _tensors_json(signature.outputs),
    }
    return json_text(document)


def json_text(content: Any) -> bytes:
    """Write a document in UTF-8, whatever its texts hold: names that clients send may not be UTF-8, and become `?`."""
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def metadata_message(model: ServedModel, body: bytes) -> bytes:
    """Answer a query with a ModelMetadataResponse; raises InvalidArgument for a signature that is not there."""
    query = MetadataQuery.from_bytes(body)
    signature = _signature(model, query)
    return oip_pb2.ModelMetadataResponse(
        name=model.name,
        versions=query.versions,
        platform=_platform(model),
        inputs=_tensor_messages(signature.inputs),
        outputs=_tensor_messages(signature.outputs),
    ).SerializeToString()


def server_metadata(version: str, extensions: Sequence[str]) -> Mapping[str, Any]:
    """Return what the server says of itself."""
    return {"name": SERVER_NAME, "version": version, "extensions": list(extensions)}


def _platform(model: ServedModel) -> str:
    return PLATFORMS.get(model.platform, model.platform)


def _signature(model: ServedModel, query: MetadataQuery) -> Signature:
    signature = model.signatures.get(query.signature)
    if signature is None:
        raise InvalidArgument(f"model '{model.name}' has no signature '{query.signature}'")
    return signature


def _tensors_json(specs: Mapping[str, TensorSpec]) -> list[dict[str, Any]]:
    return [_tensor_json(name, specs[name]) for name in sorted(specs)]


def _tensor_json(name: str, spec: TensorSpec) -> dict[str, Any]:
    described: dict[str, Any] = {"name": name, "datatype": datatype_of(spec.dtype), "shape": _shape(spec)}
    return described | ({"parameters": {"unknown_rank": True}} if spec.shape is None else {})


def _tensor_messages(specs: Mapping[str, TensorSpec]) -> list[oip_pb2.ModelMetadataResponse.TensorMetadata]:
    return [
        oip_pb2.ModelMetadataResponse.TensorMetadata(
            name=name, datatype=datatype_of(specs[name].dtype), shape=_shape(specs[name])
        )
        for name in sorted(specs)
    ]


def _shape(spec: TensorSpec) -> tuple[int, ...]:
    return UNKNOWN_RANK if spec.shape is None else spec.shape
