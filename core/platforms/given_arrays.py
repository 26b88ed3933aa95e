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


def given_arrays(feeds: Mapping[str, np.ndarray], declared: Mapping[str, TensorSpec]) -> dict[str, np.ndarray]:
    """Return the inputs of a call by the names of the declaration, as arrays that may be written to.

    `feeds` are arrays by the names of tensors. Raises InvalidArgument for what is missing, not declared, or of another
    type or shape.
    """
    given = {name: _given(feeds, name, spec) for name, spec in declared.items()}
    if len(feeds) > len(declared):
        unknown = set(feeds) - {spec.tensor for spec in declared.values()}
        raise InvalidArgument(f"Tensor {listed(unknown)} is not in the graph of the model")
    return given


def wanted_arrays(outputs: Mapping[str, np.ndarray], fetches: Iterable[str]) -> list[np.ndarray]:
    """Return outputs in the order of `fetches`; raises InvalidArgument for a name that is not declared."""
    try:
        return [outputs[name] for name in fetches]
    except KeyError as error:
        raise InvalidArgument(f"Tensor {error.args[0]} is not in the graph of the model") from None


def _given(feeds: Mapping[str, np.ndarray], name: str, spec: TensorSpec) -> np.ndarray:
    array = feeds.get(spec.tensor)
    if array is None:
        raise InvalidArgument(f'Input "{name}" is missing; it is declared as {spec}')
    if array.dtype != NUMPY_DTYPE[spec.dtype]:
        raise InvalidArgument(f'Input "{name}" is declared as {spec}, but {type_of(array).label} was given')
    if not spec.fits(array.shape):
        raise InvalidArgument(f'Input "{name}" is declared as {spec}, but shape {array.shape} was given')
    return array if array.flags.writeable else array.copy()
