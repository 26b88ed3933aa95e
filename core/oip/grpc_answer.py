"""ModelInferResponse: raw contents around the memory of the outputs, or typed contents where the request was typed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from core.inference.protobuf_wire import Piece, prefixed, tag
from core.oip.infer_plan import InferAnswer
from core.oip.raw_tensors import raw_pieces
from core.protos import oip_pb2

_RAW_TAG: Final = tag(6)


@dataclass(frozen=True, slots=True)
class GrpcWriter:
    """Writes answers; `is_raw`: the request was raw, or has no inputs."""

    is_raw: bool

    def write(self, answer: InferAnswer) -> bytes:
        """Compose the response."""
        head = oip_pb2.ModelInferResponse(
            model_name=answer.model_name, model_version=answer.model_version, id=answer.id or ""
        )
        raw: list[Piece] = []
        for one in answer.outputs:
            head.outputs.add(name=one.name, datatype=one.datatype, shape=one.array.shape)
            raw += prefixed(_RAW_TAG, raw_pieces(one.array))
        return b"".join([head.SerializeToString(), *raw])
