"""Checks of what Python code returns: each declared output as an array of its type and shape, or what is wrong.

Values are converted where nothing but precision can be lost: within a kind (float64 to float32, int64 to int32) and
from a narrower kind (bool, int, float, complex), as long as each of them is in the range of the declared type. A
number never becomes a text, and 1.5 never becomes 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

import numpy as np

from core.errors import Code, RuntimeFailure
from core.inference.dtypes import NUMPY_DTYPE, DataType
from core.inference.signature import TensorSpec

_WIDTH: Final[Mapping[str, int]] = MappingProxyType({"b": 0, "i": 1, "u": 1, "f": 2, "c": 3})
"""numpy's letters for kinds of numbers, and which kind can hold which."""

_DTYPE: Final[Mapping[int, np.dtype]] = MappingProxyType({int(kind): dtype for kind, dtype in NUMPY_DTYPE.items()})

_RAGGED: Final = "inhomogeneous"
"""What numpy says of rows that have different lengths."""


def checked_arrays(
    returned: object, declared: Mapping[str, TensorSpec], where: str, kind: str = "output"
) -> dict[str, np.ndarray]:
    """Return the declared outputs as arrays, in the order of the declaration; `kind` is what texts call one of them.

    Raises RuntimeFailure INTERNAL, with a text that begins with `where`, for missing and further names, types that do
    not fit, rows of different lengths and shapes that were not declared.
    """
    if type(returned) is not dict and not isinstance(returned, Mapping):
        text = f"{where} returned {_kind_of(returned)}, and not a mapping from names to arrays"
        raise RuntimeFailure(Code.INTERNAL, text)
    if returned.keys() != declared.keys():
        raise RuntimeFailure(Code.INTERNAL, _text_of_names(returned, declared, where, kind))
    return {name: _checked(returned[name], spec, name, where, kind) for name, spec in declared.items()}


def _checked(value: object, spec: TensorSpec, name: str, where: str, kind: str) -> np.ndarray:
    dtype = _DTYPE[spec.dtype]
    if type(value) is np.ndarray and value.dtype == dtype and not dtype.hasobject:
        array = value if value.flags.c_contiguous else value.copy()
    else:
        try:
            array = _texts(value) if spec.dtype is DataType.STRING else _numbers(value, dtype)
        except Exception as error:  # also what the value's own methods raise
            raise RuntimeFailure(Code.INTERNAL, f"{_what(spec, name, where, kind)}: {_reason(error)}") from error
    if not spec.fits(array.shape):
        text = f"{_what(spec, name, where, kind)}: it came with shape {array.shape}"
        raise RuntimeFailure(Code.INTERNAL, text)
    return array


def _numbers(value: Any, dtype: np.dtype) -> np.ndarray:
    array = np.asarray(value)
    if array.dtype == object:  # such as a column of mixed types: judge what is in it
        array = np.asarray(array.tolist())
    came, wanted = _kind(array.dtype), _kind(dtype)
    if not array.size and came in _WIDTH:
        return np.zeros(array.shape, dtype)  # an empty list says nothing about its type
    if _WIDTH.get(came, len(_WIDTH)) > _WIDTH[wanted]:
        raise TypeError(f"it came as {_kind_of(value, array)}")
    converted = _converted(array, dtype)
    if not _is_in_range(array, converted, wanted):
        raise ValueError(f"it came as {_kind_of(value, array)} with values that {dtype.name} cannot hold")
    return converted


def _is_in_range(array: np.ndarray, converted: np.ndarray, wanted: str) -> bool:
    if np.can_cast(array.dtype, converted.dtype, "safe"):
        return True
    if wanted in "iu":
        limits = np.iinfo(converted.dtype)
        return bool(limits.min <= array.min() and array.max() <= limits.max)
    return bool(np.all(np.isfinite(converted) | ~np.isfinite(array)))


def _converted(array: np.ndarray, dtype: np.dtype) -> np.ndarray:
    with np.errstate(over="ignore", invalid="ignore"):
        return array.astype(dtype, order="C")


def _kind(dtype: np.dtype) -> str:
    """Return numpy's letter for a kind; short floats of machine learning, which numpy has no letter for, are floats."""
    return "f" if dtype.kind == "V" and dtype in NUMPY_DTYPE.values() else dtype.kind


def _texts(value: Any) -> np.ndarray:
    """Return an array of `bytes`; numpy's own arrays of bytes would lose NULs at the end."""
    array = value if isinstance(value, np.ndarray) else np.array(value, dtype=object)
    texts = np.empty(array.shape, dtype=object)
    texts.reshape(-1)[:] = [_bytes(one) for one in array.reshape(-1).tolist()]
    return texts


def _bytes(value: object) -> bytes:
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value)
    if isinstance(value, (list, tuple)):
        raise ValueError(_RAGGED)  # noqa: TRY004 -- as numpy does
    raise TypeError(f"it holds {_kind_of(value)}, and neither str nor bytes")


def _reason(error: Exception) -> str:
    return "its rows have different lengths" if _RAGGED in str(error) else str(error)


def _what(spec: TensorSpec, name: str, where: str, kind: str) -> str:
    return f'{where} returned {kind} "{name}", declared as {spec}, wrongly'


def _text_of_names(returned: Mapping[Any, object], declared: Mapping[str, TensorSpec], where: str, kind: str) -> str:
    missing = ", ".join(f'"{name}"' for name in declared if name not in returned)
    further = ", ".join(f'"{name}"' for name in returned if name not in declared)
    faults = [f"lacks {kind} {missing}" if missing else "", f"has {further}, not declared" if further else ""]
    return f"{where} returned a mapping that {' and '.join(filter(None, faults))}"


def _kind_of(value: object, array: np.ndarray | None = None) -> str:
    name = type(value).__name__
    return name if array is None else f"{name} of {array.dtype.name}"
