"""Signatures: the named inputs and outputs by which a servable is called."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np

from core.config.extensions import TENSORFLOW
from core.errors import Code, Internal, InvalidArgument, RuntimeFailure
from core.inference.dtypes import NUMPY_DTYPE, DataType, data_type
from core.inference.tensor_proto import to_array
from core.protos import serving_pb2, tensor_pb2

DEFAULT_SIGNATURE = "serving_default"
PREDICT_METHOD = "tensorflow/serving/predict"
CLASSIFY_METHOD = "tensorflow/serving/classify"
REGRESS_METHOD = "tensorflow/serving/regress"
PREDICTABLE_METHODS = (PREDICT_METHOD, CLASSIFY_METHOD, REGRESS_METHOD)

_TypeSpec = tensor_pb2.TypeSpecProto
COMPOSITES: Mapping[int, str] = MappingProxyType(
    {_TypeSpec.SPARSE_TENSOR_SPEC: "sparse", _TypeSpec.RAGGED_TENSOR_SPEC: "ragged"}
)
"""What a composite tensor is, by the class of its type."""

UNCONVERTED = "unconverted"
"""The `composite` of a tensor whose type the runtime does not exchange with Python."""

_ADVICE: Mapping[str, str] = MappingProxyType(
    {
        "sequence": "is a sequence, and not one tensor; export the model with its parts as tensors of their own (a "
        "classifier of scikit-learn: skl2onnx's options={'zipmap': False})",
        "map": "is a map, and not one tensor; export the model with its values as a tensor",
        "optional": "is optional, and requests and answers carry tensors; export the model with a tensor instead",
        UNCONVERTED: "has a type that its runtime does not exchange with Python; cast it to another type in the model",
    }
)
"""What to do about values that are not tensors of TensorFlow's, by `composite`."""


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One input or output of a signature.

    `tensor` is the graph's own name (`x:0`); `shape` holds -1 for an unknown dimension and is None for an unknown rank.
    `composite` says what it is where it is not one tensor but several (`sparse`, `ragged`), and then it has no name, or
    another value than a tensor (`sequence`, `map`), or one that cannot be converted (`UNCONVERTED`).
    """

    tensor: str
    dtype: DataType
    shape: tuple[int, ...] | None
    composite: str = ""

    def __str__(self) -> str:
        dtype = NUMPY_DTYPE.get(self.dtype)
        name = self.dtype.label if dtype is None or dtype.hasobject else dtype.name
        shape = "of any shape" if self.shape is None else str(tuple(None if one < 0 else one for one in self.shape))
        return f"{name} {shape}"

    def fits(self, shape: tuple[int, ...]) -> bool:
        """Whether an array of this shape is allowed here."""
        declared = self.shape
        if declared is None:
            return True
        if len(shape) != len(declared):
            return False
        for size, came in zip(declared, shape, strict=True):  # noqa: SIM110 -- a generator takes twice the time
            if size != came and size >= 0:
                return False
        return True


@dataclass(frozen=True, slots=True)
class Signature:
    """Named inputs and outputs; `defaults` are the inputs that a request may leave out.

    `is_carried`: requests and answers can carry all of them, so that no call needs `check_carried`. `fetches` are the
    graph's names of all outputs, without repetition, and `places` says where among them each output is.
    """

    inputs: Mapping[str, TensorSpec]
    outputs: Mapping[str, TensorSpec]
    method: str = PREDICT_METHOD
    defaults: Mapping[str, np.ndarray] = field(default_factory=lambda: MappingProxyType({}))
    is_carried: bool = True
    fetches: tuple[str, ...] = field(init=False)
    places: Mapping[str, int] = field(init=False)

    def __post_init__(self) -> None:
        """Work out once what each request for all outputs needs."""
        fetches = tuple(dict.fromkeys(spec.tensor for spec in self.outputs.values()))
        places = {name: fetches.index(spec.tensor) for name, spec in self.outputs.items()}
        object.__setattr__(self, "fetches", fetches)
        object.__setattr__(self, "places", MappingProxyType(places))


def fixed_tensors(signatures: Mapping[str, Signature]) -> frozenset[str]:
    """Return the graph's names of the inputs whose first dimension is a fixed size.

    Rows of several requests must not be merged there: the graph was built for so many rows and no others.
    """
    inputs = (one for signature in signatures.values() for one in signature.inputs.values())
    return frozenset(one.tensor for one in inputs if one.shape and one.shape[0] >= 0)


def check_carried(key: str, signature: Signature, outputs: Iterable[str]) -> None:
    """Refuse a call of a signature whose inputs, or requested outputs, cannot be in a request or an answer.

    Raises RuntimeFailure: INVALID_ARGUMENT for what is not one tensor, UNIMPLEMENTED for a type.
    """
    for alias, spec in signature.inputs.items():
        _check_carried(f'Input "{alias}" of signature "{key}"', spec)
    for alias in outputs:
        _check_carried(f'Output "{alias}" of signature "{key}"', signature.outputs[alias])


def _check_carried(what: str, spec: TensorSpec) -> None:
    if spec.composite in _ADVICE:
        raise InvalidArgument(f"{what} {_ADVICE[spec.composite]}.")
    if spec.composite:
        advice = "export a signature that has its parts, or a dense form of it, as tensors of their own"
        text = f"{what} is a {spec.composite} tensor, which consists of several tensors; {advice}."
        raise RuntimeFailure(Code.INVALID_ARGUMENT, text)
    if spec.dtype is DataType.INVALID:
        raise RuntimeFailure(
            Code.INVALID_ARGUMENT, f"{what} is an operation without a value, which cannot be asked for."
        )
    if spec.dtype not in NUMPY_DTYPE:
        text = f"{what} has type {spec.dtype.label}, which requests and answers cannot carry"
        raise RuntimeFailure(Code.UNIMPLEMENTED, f"{text}; export a signature that casts it to another type.")


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

    `signature_def_map` is the serialized SignatureDefMap that GetModelMetadata answers with; `platform` is the name of
    the platform that loaded it. `runs_by` says what calls the runs, where there is more than one way: `compiled`, or
    `python` alone. `may_loop`: how long a run takes depends on the values of its inputs, as its graph has loops.
    """

    name: str
    version: int
    signatures: Mapping[str, Signature]
    signature_def_map: bytes = b""
    platform: str = TENSORFLOW.name
    runs_by: str = ""
    may_loop: bool = False


def served_model(
    name: str, version: int, signatures: Mapping[str, Signature], *, may_loop: bool = False
) -> ServedModel:
    """Return what a version declares whose files have no SignatureDefs; they are written from its signatures."""
    return ServedModel(name, version, signatures, signature_def_map(signatures), may_loop=may_loop)


def signature_def_map(signatures: Mapping[str, Signature]) -> bytes:
    """Return the serialized SignatureDefMap by which GetModelMetadata shows these signatures."""
    definitions = {key: definition_of(one) for key, one in signatures.items()}
    return serving_pb2.SignatureDefMap(signature_def=definitions).SerializeToString(deterministic=True)


def tensor_spec(info: tensor_pb2.TensorInfo) -> TensorSpec:
    """Read one TensorInfo."""
    shape = None if info.tensor_shape.unknown_rank else tuple(dim.size for dim in info.tensor_shape.dim)
    return TensorSpec(info.name, data_type(info.dtype), shape, _composite(info))


def _composite(info: tensor_pb2.TensorInfo) -> str:
    if info.HasField("coo_sparse"):
        return "sparse"
    if not info.HasField("composite_tensor"):
        return ""
    return COMPOSITES.get(info.composite_tensor.type_spec.type_spec_class, "composite")


def signature(definition: tensor_pb2.SignatureDef) -> Signature:
    """Read one SignatureDef."""
    inputs = {key: tensor_spec(info) for key, info in definition.inputs.items()}
    outputs = {key: tensor_spec(info) for key, info in definition.outputs.items()}
    return Signature(
        inputs=MappingProxyType(inputs),
        outputs=MappingProxyType(outputs),
        method=definition.method_name,
        defaults=MappingProxyType({key: to_array(value) for key, value in definition.defaults.items()}),
        is_carried=all(not one.composite and one.dtype in NUMPY_DTYPE for one in (*inputs.values(), *outputs.values())),
    )


def definition_of(signature: Signature) -> tensor_pb2.SignatureDef:
    """Write one SignatureDef, without defaults."""
    return tensor_pb2.SignatureDef(
        inputs={key: _info(spec) for key, spec in signature.inputs.items()},
        outputs={key: _info(spec) for key, spec in signature.outputs.items()},
        method_name=signature.method,
    )


def _info(spec: TensorSpec) -> tensor_pb2.TensorInfo:
    info = tensor_pb2.TensorInfo(name=spec.tensor, dtype=spec.dtype.wire_name)
    info.tensor_shape.unknown_rank = spec.shape is None
    for size in spec.shape or ():
        info.tensor_shape.dim.add(size=size)
    return info
