"""ModelInferResponse: raw contents around the memory of the outputs, or typed contents where the request was typed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from core.inference.protobuf_wire import Piece, prefixed, tag
from core.oip.infer_plan import InferAnswer
from core.oip.raw_tensors import raw_pieces
from core.oip.typed_contents import has_typed_form, typed_pieces
from core.protos import oip_pb2

_Output = oip_pb2.ModelInferResponse.InferOutputTensor
_OUTPUT_TAG: Final = tag(5)
_CONTENTS_TAG: Final = tag(5)
_RAW_TAG: Final = tag(6)


@dataclass(frozen=True, slots=True)
class GrpcWriter:
    """Writes answers; `is_raw`: the request was raw, or has no inputs."""

    is_raw: bool

    def write(self, answer: InferAnswer) -> bytes:
        """Compose the response; raw also where an output has no typed form."""
        if self.is_raw or not all(has_typed_form(one.datatype) for one in answer.outputs):
            return _raw(answer)
        pieces: list[Piece] = [_head(answer).SerializeToString()]
        for one in answer.outputs:
            described = _Output(name=one.name, datatype=one.datatype, shape=one.array.shape).SerializeToString()
            contents = prefixed(_CONTENTS_TAG, typed_pieces(one.datatype, one.array))
            pieces += prefixed(_OUTPUT_TAG, [described, *contents])
        return b"".join(pieces)


def _raw(answer: InferAnswer) -> bytes:
    head = _head(answer)
    raw: list[Piece] = []
    for one in answer.outputs:
        head.outputs.add(name=one.name, datatype=one.datatype, shape=one.array.shape)
        raw += prefixed(_RAW_TAG, raw_pieces(one.array))
    return b"".join([head.SerializeToString(), *raw])


def _head(answer: InferAnswer) -> oip_pb2.ModelInferResponse:
    return oip_pb2.ModelInferResponse(
        model_name=answer.model_name, model_version=answer.model_version, id=answer.id or ""
    )
