"""Checks of what a request gives to Python code: each declared input, with its type and shape.

Planners leave types and shapes to the runtime, as TensorFlow Serving does. Python code would meet them deep inside of a
library, so they are checked here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from core.errors import InvalidArgument
from core.inference.dtypes import NUMPY_DTYPE, type_of
from core.inference.error_texts import listed
from core.inference.signature import TensorSpec


class DeclaredInputs:
    """The inputs of a declaration, prepared for the checks of each call."""

    __slots__ = ("_inputs",)

    def __init__(self, declared: Mapping[str, TensorSpec]) -> None:
        self._inputs = [(name, spec, spec.tensor, NUMPY_DTYPE[spec.dtype]) for name, spec in declared.items()]

    def given(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return the inputs of a call by the names of the declaration, as arrays that may be written to.

        `feeds` are arrays by the names of tensors. Raises InvalidArgument for what is missing, not declared, or of
        another type or shape.
        """
        given = {}
        for name, spec, tensor, dtype in self._inputs:
            array = feeds.get(tensor)
            if array is None or array.dtype != dtype or not spec.fits(array.shape):
                raise InvalidArgument(f'Input "{name}" is declared as {spec}, {_came(array, dtype)}')
            given[name] = array if array.flags.writeable else array.copy()
        if len(feeds) > len(given):
            unknown = set(feeds) - {tensor for _, _, tensor, _ in self._inputs}
            raise InvalidArgument(f"Tensor {listed(unknown)} is not in the graph of the model")
        return given


def _came(array: np.ndarray | None, dtype: np.dtype) -> str:
    if array is None:
        return "but is missing"
    return f"but shape {array.shape} was given" if array.dtype == dtype else f"but {type_of(array).label} was given"


def wanted_arrays(outputs: Mapping[str, np.ndarray], fetches: Iterable[str]) -> list[np.ndarray]:
    """Return outputs in the order of `fetches`; raises InvalidArgument for a name that is not declared."""
    try:
        return [outputs[name] for name in fetches]
    except KeyError as error:
        raise InvalidArgument(f"Tensor {error.args[0]} is not in the graph of the model") from None
