"""The JSON answer of predict: one entry per example for row requests, whole tensors otherwise.

`places` maps each output's name to the position of its tensor among the fetched arrays. With one output its name is
left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from core.errors import InvalidArgument
from core.json.array_text import columns_answer, list_answer, rows_answer

Places = Mapping[str, int]


def write_rows(places: Places, arrays: Sequence[np.ndarray]) -> bytes:
    """Answer a request that came as `instances`."""
    outputs = _named(places, arrays)
    if not _batch_size(outputs):
        return list_answer("predictions", ())
    return rows_answer("predictions", outputs)


def write_columns(places: Places, arrays: Sequence[np.ndarray]) -> bytes:
    """Answer a request that came as `inputs`."""
    return columns_answer("outputs", _named(places, arrays))


def _named(places: Places, arrays: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    if not places:
        raise InvalidArgument("Cannot convert empty tensor map to JSON")
    return {name: arrays[place] for name, place in places.items()}


def _batch_size(outputs: Mapping[str, np.ndarray]) -> int:
    """Return the first dimension, which all outputs must share."""
    expected: int | None = None
    for name, array in outputs.items():
        if array.ndim == 0:
            raise InvalidArgument(f"Tensor name: {name} has no shape information ")
        if expected is None:
            expected = array.shape[0]
        if array.shape[0] != expected:
            raise InvalidArgument(
                f"Tensor name: {name} has inconsistent batch size: {array.shape[0]} expecting: {expected}"
            )
    return expected or 0
