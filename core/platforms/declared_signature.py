"""Signatures that Python code declares: the inputs and outputs of a `python` servable, or of hooks.

A declaration is a mapping from names to types with shapes: `{"x": ("float32", (None, 4))}`; a type alone leaves the
rank open. The name of a tensor in the graph's sense is the name itself.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

import numpy as np

from core.errors import InvalidArgument
from core.inference.dtypes import NUMPY_DTYPE, TYPE_OF, DataType
from core.inference.signature import Signature, TensorSpec
from core.inference.tensor_proto import MAX_RANK

LARGEST_SIZE: Final = 2**63 - 1
"""The largest dimension that a TensorShapeProto can hold."""

_NUMERIC: Final = {kind: dtype for kind, dtype in NUMPY_DTYPE.items() if kind is not DataType.STRING}
_NAMED: Final[Mapping[str, DataType]] = MappingProxyType(
    {kind.label: kind for kind in NUMPY_DTYPE}
    | {dtype.name: TYPE_OF[dtype] for dtype in _NUMERIC.values()}
    | {"str": DataType.STRING, "bytes": DataType.STRING}
)
_ADVICE: Final = 'write a type of numpy such as "float32", or "string", alone or with a shape: ("float32", (None, 4))'


def declared_signature(inputs: object, outputs: object, where: str) -> Signature:
    """Read the declaration of inputs and outputs; raises InvalidArgument with a text that begins with `where`."""
    return Signature(inputs=_specs(inputs, "input", where), outputs=_specs(outputs, "output", where))


def _specs(declared: object, kind: str, where: str) -> Mapping[str, TensorSpec]:
    if not isinstance(declared, Mapping):
        came = "is missing" if declared is None else f"is of type {type(declared).__name__}"
        text = f"{where}: the declaration of its {kind}s {came}; it must be a mapping from names to types"
        raise InvalidArgument(f'{text}, such as {kind}s = {{"x": ("float32", (None, 4))}}')
    if not declared:
        raise InvalidArgument(f"{where} declares no {kind}s")
    return MappingProxyType({_name(name, kind, where): _spec(name, one, kind, where) for name, one in declared.items()})


def _name(name: object, kind: str, where: str) -> str:
    if not isinstance(name, str) or not name:
        raise InvalidArgument(f"{where}: the name {name!r} of an {kind} is not a text of one character or more")
    try:
        name.encode()
    except UnicodeEncodeError:
        raise InvalidArgument(f"{where}: the name {name!r} of an {kind} cannot be written in UTF-8") from None
    return name


def _spec(name: str, declared: object, kind: str, where: str) -> TensorSpec:
    what = f'{where}: {kind} "{name}" is declared as {declared!r}'
    if not isinstance(declared, (tuple, list)):
        return TensorSpec(name, _type(declared, what), None)
    if len(declared) != 2:
        raise InvalidArgument(f"{what}; {_ADVICE}")
    return TensorSpec(name, _type(declared[0], what), _shape(declared[1], what))


def _type(declared: object, what: str) -> DataType:
    if declared == "float":
        raise InvalidArgument(f'{what}, which has 32 bits in TensorFlow and 64 in numpy; write "float32" or "float64"')
    found = None
    if isinstance(declared, DataType):
        found = declared if declared in NUMPY_DTYPE else None
    elif isinstance(declared, str):
        found = _NAMED.get(declared.lower().removeprefix("dt_"))
    elif isinstance(declared, (type, np.dtype)):
        found = _type_of_numpy(declared)
    if found is None:
        raise InvalidArgument(f"{what}, which is not a type that requests and answers can carry; {_ADVICE}")
    return found


def _type_of_numpy(declared: type | np.dtype) -> DataType | None:
    dtype = np.dtype(declared)
    if dtype.hasobject and not (isinstance(declared, np.dtype) or issubclass(np.object_, declared)):
        return None  # numpy takes any class for a type of objects
    return DataType.STRING if dtype.kind in "SU" else TYPE_OF.get(dtype.newbyteorder("="))


def _shape(declared: object, what: str) -> tuple[int, ...] | None:
    if declared is None:
        return None
    if not isinstance(declared, Sequence) or isinstance(declared, (str, bytes)):
        raise InvalidArgument(f"{what}: a shape is a tuple of sizes, with None for one that may vary")
    if len(declared) > MAX_RANK:
        raise InvalidArgument(f"{what}: a shape has at most {MAX_RANK} dimensions")
    return tuple(_size(one, what) for one in declared)


def _size(declared: Any, what: str) -> int:
    try:
        size = -1 if declared is None else operator.index(declared)
    except TypeError:
        size = -2
    if isinstance(declared, bool) or not -1 <= size <= LARGEST_SIZE:
        raise InvalidArgument(f"{what}: {declared!r} is not a size; a size is a number from 0 on, or None if it varies")
    return size
