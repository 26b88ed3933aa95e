"""The wire form of a PredictResponse, composed around the memory of the fetched arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from core.errors import ServingError
from core.inference.dtypes import NUMPY_DTYPE, DataType
from core.inference.protobuf_wire import Piece, length_delimited, prefixed, tag
from core.inference.signature import TensorSpec
from core.inference.tensor_proto import wire_pieces

_OUTPUT_TAG: Final = tag(1)
_KEY_TAG: Final = tag(1)
_VALUE_TAG: Final = tag(2)
_MODEL_SPEC_TAG: Final = tag(2)


@dataclass(frozen=True, slots=True)
class ResponseWriter:
    """Writes the outputs of one request; `fetches` are the graph tensors in the order in which arrays will come."""

    outputs: tuple[tuple[str, TensorSpec], ...]
    fetches: tuple[str, ...]
    model_spec: bytes
    as_content: bool

    def encode(self, arrays: Sequence[np.ndarray]) -> bytes:
        """Compose the response."""
        if len(arrays) != len(self.fetches):
            raise ServingError("Predict internal error")
        fetched = dict(zip(self.fetches, arrays, strict=True))
        pieces: list[Piece] = []
        for alias, spec in self.outputs:
            pieces += prefixed(_OUTPUT_TAG, self._entry(alias, spec, fetched[spec.tensor]))
        pieces.append(length_delimited(_MODEL_SPEC_TAG, self.model_spec))
        return b"".join(pieces)

    def _entry(self, alias: str, spec: TensorSpec, array: np.ndarray) -> list[Piece]:
        value = wire_pieces(array, declared_type(spec, array), as_content=self.as_content)
        return [length_delimited(_KEY_TAG, alias.encode()), *prefixed(_VALUE_TAG, value)]


def declared_type(spec: TensorSpec, array: np.ndarray) -> DataType | None:
    """Return the type that the signature declares, None where the array contradicts it; quantized types need it."""
    return spec.dtype if NUMPY_DTYPE.get(spec.dtype) == array.dtype else None
