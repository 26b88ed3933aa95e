"""The JSON answer of predict: one entry per example for row requests, whole tensors otherwise.

`places` maps each output's name to the position of its tensor among the fetched arrays. With one output its name is
left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from core.errors import InvalidArgument
from core.json.array_text import answer, array_text, closing_on_its_own_line, object_text, row_texts

Places = Mapping[str, int]

MEMBER_INDENT = b"    "
ROW_INDENT = b"        "


def write_rows(places: Places, arrays: Sequence[np.ndarray]) -> bytes:
    """Answer a request that came as `instances`."""
    outputs = _named(places, arrays)
    batch_size = _batch_size(outputs)
    if not batch_size:
        return answer("predictions", b"[]")
    if len(outputs) == 1:
        ((name, array),) = outputs.items()
        return answer("predictions", closing_on_its_own_line(array_text(name, array)))
    columns = [row_texts(name, array) for name, array in outputs.items()]
    rows = [object_text(dict(zip(outputs, row, strict=True)), ROW_INDENT) for row in zip(*columns, strict=True)]
    separator = b"\n" + ROW_INDENT
    return answer("predictions", b"[%b%b\n    ]" % (separator, (b"," + separator).join(rows)))


def write_columns(places: Places, arrays: Sequence[np.ndarray]) -> bytes:
    """Answer a request that came as `inputs`."""
    outputs = _named(places, arrays)
    texts = {name: array_text(name, array) for name, array in outputs.items()}
    if len(texts) == 1:
        return answer("outputs", next(iter(texts.values())))
    return answer("outputs", object_text(texts, MEMBER_INDENT))


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
