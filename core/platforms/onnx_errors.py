"""onnxruntime's errors in the one tree of errors: by the name of their class, with onnxruntime's own text."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import numpy as np

from core.errors import (
    Code,
    DataLoss,
    DeadlineExceeded,
    FailedPrecondition,
    Internal,
    InvalidArgument,
    NotFound,
    ResourceExhausted,
    RuntimeFailure,
    ServingError,
    Unimplemented,
)
from core.inference.dtypes import DataType, type_of
from core.routing.transport import TIMED_OUT

_PREFIX: Final = re.compile(r"\[ONNXRuntimeError\] : \d+ : \w+ : ")
_TERMINATED: Final = "Exiting due to terminate flag"
_NO_MEMORY: Final = re.compile(r"bad_alloc|Failed to allocate memory|out of memory", re.IGNORECASE)
_OF_DEVICE: Final = re.compile(r"\b(?:CUDA|CUDNN|CUBLAS|TensorRT|HIP|MIOPEN)\b.*(?:failure|error)", re.IGNORECASE)
_OF_SHAPE: Final = re.compile(r"shape|dimension|broadcast|indices|index|rank|out of (?:bounds|range)", re.IGNORECASE)

_LOAD: Final[Mapping[str, type[ServingError]]] = MappingProxyType(
    {
        "InvalidProtobuf": DataLoss,
        "InvalidArgument": InvalidArgument,
        "InvalidGraph": InvalidArgument,
        "NotImplemented": Unimplemented,
        "NoSuchFile": NotFound,
        "NoModel": NotFound,
    }
)
_CODES: Final[Mapping[str, Code]] = MappingProxyType(
    {
        "NotImplemented": Code.UNIMPLEMENTED,
        "EPFail": Code.INTERNAL,
        "EngineError": Code.INTERNAL,
    }
)


def onnx_load_error(kind: str, text: str, file: str) -> ServingError:
    """Return the error of a load; `kind` is the name of onnxruntime's class."""
    made = f"onnxruntime cannot load {file}: {_plain(text)}"
    if kind == "InvalidProtobuf":
        made += " The file is not an ONNX model, or only a part of one: copy or export it again."
    return _LOAD.get(kind, FailedPrecondition)(made)


def onnx_run_error(kind: str, text: str) -> ServingError:
    """Return the error of a run.

    A node that fails because of shapes or indices fails because of the request. Of other failing nodes that is not
    known. None of these may count against the version as a RuntimeFailure does; what a device reports does.
    """
    plain = _plain(text)
    if _TERMINATED in plain:
        return DeadlineExceeded(TIMED_OUT)
    if kind == "MemoryError" or _NO_MEMORY.search(plain):
        return ResourceExhausted(f"onnxruntime has not enough memory for this request: {plain}")
    if kind in _CODES or _OF_DEVICE.search(plain):
        return RuntimeFailure(_CODES.get(kind, Code.INTERNAL), plain)
    if kind == "InvalidArgument" or _OF_SHAPE.search(plain):
        return InvalidArgument(plain)
    return Internal(plain if kind in ("Fail", "RuntimeException") else f"{kind}: {plain}")


def wrong_types(feeds: Mapping[str, np.ndarray], types: Mapping[str, DataType]) -> str:
    """Return which inputs have other types than the model's; empty when all have theirs."""
    wrong = (
        f'Input "{name}" has type {type_of(array).label}, and the model takes {types[name].label}.'
        for name, array in feeds.items()
        if name in types and type_of(array) is not types[name]
    )
    return " ".join(wrong)


def texts_of(name: str, array: np.ndarray) -> np.ndarray:
    """Return an input of byte strings as texts, which onnxruntime takes; raises InvalidArgument."""
    made = np.empty(array.size, object)
    try:
        made[:] = [one.decode() for one in array.ravel().tolist()]
    except UnicodeDecodeError as error:
        raise InvalidArgument(f'Input "{name}" has a string that is not UTF-8, as ONNX needs it: {error}.') from None
    except AttributeError:
        raise InvalidArgument(f'Input "{name}" does not consist of byte strings.') from None
    return made.reshape(array.shape)


def byte_strings_of(array: np.ndarray) -> np.ndarray:
    """Return an output of texts as byte strings."""
    made = np.empty(array.size, object)
    made[:] = [one.encode(errors="surrogateescape") for one in array.ravel().tolist()]
    return made.reshape(array.shape)


def _plain(text: str) -> str:
    return " ".join(_PREFIX.sub("", text).split())
