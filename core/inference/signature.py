"""Signatures: the named inputs and outputs by which a servable is called."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np

from core.errors import Internal
from core.inference.dtypes import DataType, data_type
from core.inference.tensor_proto import to_array
from core.protos import tensor_pb2

DEFAULT_SIGNATURE = "serving_default"
PREDICT_METHOD = "tensorflow/serving/predict"
CLASSIFY_METHOD = "tensorflow/serving/classify"
REGRESS_METHOD = "tensorflow/serving/regress"
PREDICTABLE_METHODS = (PREDICT_METHOD, CLASSIFY_METHOD, REGRESS_METHOD)


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One input or output of a signature.

    `tensor` is the graph's own name (`x:0`); `shape` holds -1 for an unknown dimension and is None for an unknown rank.
    """

    tensor: str
    dtype: DataType
    shape: tuple[int, ...] | None


@dataclass(frozen=True, slots=True)
class Signature:
    """Named inputs and outputs; `defaults` are the inputs that a request may leave out."""

    inputs: Mapping[str, TensorSpec]
    outputs: Mapping[str, TensorSpec]
    method: str = PREDICT_METHOD
    defaults: Mapping[str, np.ndarray] = field(default_factory=lambda: MappingProxyType({}))


def fixed_tensors(signatures: Mapping[str, Signature]) -> frozenset[str]:
    """Return the graph's names of the inputs whose first dimension is a fixed size.

    Rows of several requests must not be merged there: the graph was built for so many rows and no others.
    """
    inputs = (one for signature in signatures.values() for one in signature.inputs.values())
    return frozenset(one.tensor for one in inputs if one.shape and one.shape[0] >= 0)


def check_predictable(signature: Signature) -> None:
    """Refuse a signature that was exported for no known method; servers do this only on demand."""
    if signature.method not in PREDICTABLE_METHODS:
        expected = ", ".join(PREDICTABLE_METHODS)
        raise Internal(
            f"Expected prediction signature method_name to be one of {{{expected}}}. Was: {signature.method}"
        )


@dataclass(frozen=True, slots=True)
class ServedModel:
    """What a loaded version declares: its name, number and signatures.

    `signature_def_map` is the serialized SignatureDefMap that GetModelMetadata answers with.
    """

    name: str
    version: int
    signatures: Mapping[str, Signature]
    signature_def_map: bytes = b""


def tensor_spec(info: tensor_pb2.TensorInfo) -> TensorSpec:
    """Read one TensorInfo."""
    shape = None if info.tensor_shape.unknown_rank else tuple(dim.size for dim in info.tensor_shape.dim)
    return TensorSpec(info.name, data_type(info.dtype), shape)


def signature(definition: tensor_pb2.SignatureDef) -> Signature:
    """Read one SignatureDef."""
    return Signature(
        inputs=MappingProxyType({key: tensor_spec(info) for key, info in definition.inputs.items()}),
        outputs=MappingProxyType({key: tensor_spec(info) for key, info in definition.outputs.items()}),
        method=definition.method_name,
        defaults=MappingProxyType({key: to_array(value) for key, value in definition.defaults.items()}),
    )
