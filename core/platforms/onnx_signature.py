"""What an ONNX model declares, as onnxruntime tells it: types and shapes of its inputs and outputs, and its operations.

onnxruntime tells types as texts: `tensor(float)`, `seq(map(string,tensor(float)))`. Dimensions are numbers, names, or
None; it tells no dimensions where the rank is open, and takes tensors of every rank there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Protocol

import numpy as np

from core.errors import Internal
from core.inference.dtypes import NUMPY_DTYPE, DataType
from core.inference.signature import DEFAULT_SIGNATURE, UNCONVERTED, Signature, TensorSpec

WITH_INITIALIZERS: Final = "serving_with_initializers"
"""The signature that also takes the initializers which a request may replace."""

MOST_REPLACED_ELEMENTS: Final = 4096
"""More elements than these are weights, which some exporters declare as inputs although nobody sends them."""

LARGEST_LIGHT_BYTES: Final = 1024 * 1024
"""The files of a light model are not larger: at most a quarter of a million weights, each used once for a row."""

_ELEMENTS: Final[Mapping[str, DataType]] = MappingProxyType(
    {
        "float": DataType.FLOAT,
        "double": DataType.DOUBLE,
        "float16": DataType.HALF,
        "string": DataType.STRING,
        "bool": DataType.BOOL,
        **{one.label: one for one in (DataType.INT8, DataType.INT16, DataType.INT32, DataType.INT64)},
        **{one.label: one for one in (DataType.UINT8, DataType.UINT16, DataType.UINT32, DataType.UINT64)},
    }
)
"""The types of elements that go through numpy; bfloat16 and smaller ones do not."""

_TENSOR: Final = re.compile(r"tensor\((\w+)\)")
_SCORES: Final = re.compile(r"seq\(map\((?:int64|string),tensor\((float|double)\)\)\)")
_COMPOSITES: Final[Mapping[str, str]] = MappingProxyType({"seq": "sequence", "sparse_tensor": "sparse"})
_HEAVY: Final = re.compile(
    rb'"[\x01-\x7f](?:[A-Za-z]*(?:Conv|Pool|RNN|LSTM|GRU|Attention|Einsum|DFT|STFT|Resize|TopK|Sort|NonMaxSuppression)'
    rb"|Loop|Scan|If|Det|Unique|ImageDecoder|GridSample|RoiAlign|DeformConv)"
)
"""Operations whose work is not bounded by the number of weights, as a node's `op_type` lies in the file."""

_LOOPS: Final = re.compile(rb'"\x04(?:Loop|Scan)')
"""Operations that repeat others as often as values say, likewise."""


class OnnxValue(Protocol):
    """An input or an output as onnxruntime tells it (`NodeArg`)."""

    @property
    def name(self) -> str:
        """Its name, by which it is fed and fetched."""

    @property
    def type(self) -> str:
        """Its type in onnxruntime's words."""

    @property
    def shape(self) -> Sequence[int | str | None]:
        """Its dimensions; none where the rank is open."""


@dataclass(frozen=True, slots=True)
class OnnxSignatures:
    """The signatures of a model; `initializers` are stand-ins for those that a request leaves out, by name."""

    signatures: Mapping[str, Signature]
    initializers: Mapping[str, np.ndarray]


def onnx_signatures(
    inputs: Iterable[OnnxValue], outputs: Iterable[OnnxValue], initializers: Iterable[OnnxValue] = ()
) -> OnnxSignatures:
    """Return `serving_default`, and a second signature where the model lets requests replace initializers."""
    takes = {one.name: _spec(one) for one in inputs}
    gives = {one.name: _output_spec(one) for one in outputs}
    stand_ins = _stand_ins(initializers)
    found = {DEFAULT_SIGNATURE: _signature(takes, gives)}
    if stand_ins:
        more = {name: TensorSpec(name, kind, array.shape) for name, (kind, array) in stand_ins.items()}
        arrays = {name: array for name, (_, array) in stand_ins.items()}
        found[WITH_INITIALIZERS] = _signature({**takes, **more}, gives, arrays)
        return OnnxSignatures(MappingProxyType(found), MappingProxyType(arrays))
    return OnnxSignatures(MappingProxyType(found), MappingProxyType({}))


def _signature(
    takes: Mapping[str, TensorSpec], gives: Mapping[str, TensorSpec], defaults: Mapping[str, np.ndarray] | None = None
) -> Signature:
    return Signature(
        inputs=MappingProxyType(dict(takes)),
        outputs=MappingProxyType(dict(gives)),
        defaults=MappingProxyType(dict(defaults or {})),
        is_carried=not any(one.composite for one in (*takes.values(), *gives.values())),
    )


def _spec(value: OnnxValue) -> TensorSpec:
    found = _TENSOR.fullmatch(value.type)
    if found is None:
        composite = value.type.partition("(")[0]
        return TensorSpec(value.name, DataType.VARIANT, None, _COMPOSITES.get(composite, composite))
    kind = _ELEMENTS.get(found[1])
    if kind is None:
        return TensorSpec(value.name, _wire_type(found[1]), _shape(value), UNCONVERTED)
    return TensorSpec(value.name, kind, _shape(value))


def _output_spec(value: OnnxValue) -> TensorSpec:
    scores = _SCORES.fullmatch(value.type)
    return TensorSpec(value.name, _ELEMENTS[scores[1]], (-1, -1)) if scores else _spec(value)


def _wire_type(element: str) -> DataType:
    name = element.upper().replace("FLOAT8E", "FLOAT8_E").replace("FLOAT4E", "FLOAT4_E")
    return DataType.__members__.get(name, DataType.INVALID)


def _shape(value: OnnxValue) -> tuple[int, ...] | None:
    sizes = tuple(size if isinstance(size, int) and size >= 0 else -1 for size in value.shape)
    return sizes or None


def _stand_ins(initializers: Iterable[OnnxValue]) -> dict[str, tuple[DataType, np.ndarray]]:
    """Return an array without memory of its own for each initializer; none where they are a model's weights."""
    specs = [(_spec(one), tuple(size for size in one.shape if isinstance(size, int))) for one in initializers]
    if any(spec.composite for spec, _ in specs):
        return {}
    arrays = {
        spec.tensor: (spec.dtype, np.broadcast_to(np.zeros((), NUMPY_DTYPE[spec.dtype]), shape))
        for spec, shape in specs
    }
    return arrays if sum(array.size for _, array in arrays.values()) <= MOST_REPLACED_ELEMENTS else {}


def gives_scores(value: OnnxValue) -> bool:
    """Whether an output is one mapping from label to score for each row, as skl2onnx writes classifiers (ZipMap)."""
    return _SCORES.fullmatch(value.type) is not None


def score_columns(name: str, rows: Sequence[Mapping[object, float]], dtype: np.dtype) -> np.ndarray:
    """Return the scores of rows, shape (rows, labels), columns in the ascending order of labels.

    That is the order of scikit-learn's `classes_`. Raises Internal for rows with different labels.
    """
    if not rows:
        return np.empty((0, 0), dtype)
    labels = sorted(rows[0], key=lambda one: one if isinstance(one, int) else str(one).encode())
    if any(row.keys() != rows[0].keys() for row in rows):
        raise Internal(f'Output "{name}" has rows with different labels, which are not columns of a table.')
    return np.array([[row[label] for label in labels] for row in rows], dtype)


def may_loop_onnx(model: bytes) -> bool:
    """Whether how long a run takes depends on the values that are fed."""
    return _LOOPS.search(model) is not None


def is_light_onnx(model: bytes) -> bool:
    """Whether a run of a small model for a few rows is too short to be worth more than one thread."""
    return _HEAVY.search(model) is None
