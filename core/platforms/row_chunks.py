"""The chunks into which TensorFlow Serving splits the rows of a request to a TensorFlow Lite model."""

from __future__ import annotations

from typing import Final

from core.errors import InvalidArgument

MOST_ROWS: Final = 500
"""The rows of one request, and of all interpreters of a pool together."""

CHUNKS_OF_A_POOL: Final = 100
"""How many chunks may wait for each pool."""


def row_chunks(rows: int, model_rows: int, interpreters: int) -> list[slice]:
    """Return the parts of a request: as many rows as the model declares, or its share of the most rows.

    Raises InvalidArgument for too many rows.
    """
    if rows > MOST_ROWS:
        raise InvalidArgument(f"Task size {rows} is larger than maximum input batch size {MOST_ROWS}")
    size = model_rows if model_rows > 1 else -(-MOST_ROWS // interpreters)
    return [slice(start, min(start + size, rows)) for start in range(0, rows, size)] or [slice(0, 0)]
