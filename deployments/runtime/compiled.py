"""The compiled part of the runtime, where there is one: `native/session_run.c`, built when this package was installed.

Without it, as where no C compiler was at hand, all works the same by Python alone, and a run costs more. The variable
RAY_MODEL_SERVER_PURE_PYTHON, set to anything, leaves the compiled part aside, to see whether it is at fault.
"""

from __future__ import annotations

import importlib
import logging
import os
import threading
from typing import Any, Final

import numpy as np

from core.errors import ResourceExhausted
from deployments.runtime.library import ffi

log = logging.getLogger(__name__)

EXTENSION: Final = "deployments.runtime._session_run"
PURE_PYTHON_VARIABLE: Final = "RAY_MODEL_SERVER_PURE_PYTHON"

ADVICE: Final = "runs are called by Python alone, which takes longer; install again where there is a C compiler"

_choosing = threading.Lock()
_chosen: list[Any] = []


def compiled(lib: Any) -> Any:
    """Return the extension module, which calls the library's functions; None where Python calls them.

    The first call of the process decides.
    """
    with _choosing:
        if not _chosen:
            _chosen.append(_bound(lib))
        return _chosen[0]


def runs_by(lib: Any) -> str:
    """Return what calls the library's functions in a run: the part that is `compiled`, or `python` alone."""
    return "python" if compiled(lib) is None else "compiled"


def string_tensor(extension: Any, values: list[bytes], shape: tuple[int, ...]) -> Any:
    """Make a tensor that owns its strings; the caller deletes it."""
    tensor = extension.lib.string_tensor(shape, len(shape), len(values), list(map(len, values)), b"".join(values))
    if tensor == ffi.NULL:
        raise ResourceExhausted(f"No memory for a tensor of {len(values)} strings")
    return ffi.cast("TF_Tensor*", tensor)


def string_values(extension: Any, tensor: Any, count: int) -> np.ndarray:
    """Read the strings of a tensor."""
    sizes = extension.ffi.new("size_t[]", count)
    content = bytearray(extension.lib.string_sizes(tensor, count, sizes))
    extension.lib.copy_strings(tensor, count, extension.ffi.from_buffer(content))
    array = np.empty(count, object)
    start = 0
    for index, size in enumerate(extension.ffi.unpack(sizes, count)):
        array[index] = bytes(content[start : start + size])
        start += size
    return array


def _bound(lib: Any) -> Any:
    if os.environ.get(PURE_PYTHON_VARIABLE):
        log.warning("compiled_part_left_aside variable=%s", PURE_PYTHON_VARIABLE)
        return None
    try:
        extension = importlib.import_module(EXTENSION)
    except ImportError as error:
        log.warning("compiled_part_missing error=%s text=%r", error, ADVICE)
        return None
    functions = extension.ffi.new("tensorflow_functions*")
    for name, field in extension.ffi.typeof("tensorflow_functions").fields:
        address = int(ffi.cast("uintptr_t", ffi.addressof(lib, name)))
        setattr(functions, name, extension.ffi.cast(field.type, address))
    extension.lib.bind_tensorflow(functions)
    return extension
