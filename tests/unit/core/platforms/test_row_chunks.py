"""Tests of the chunks of large requests, as TensorFlow Serving cuts them."""

from __future__ import annotations

import pytest

from core.errors import InvalidArgument
from core.platforms.row_chunks import row_chunks


def sizes(rows: int, model_rows: int, interpreters: int) -> list[int]:
    return [one.stop - one.start for one in row_chunks(rows, model_rows, interpreters)]


@pytest.mark.parametrize(
    ("rows", "model_rows", "interpreters", "expected"),
    [
        (500, 1, 4, [125] * 4),
        (500, 1, 3, [167, 167, 166]),
        (126, 1, 4, [125, 1]),
        (10, 4, 2, [4, 4, 2]),
        (4, 4, 2, [4]),
        (3, 1, 2, [3]),
        (0, 1, 2, [0]),
    ],
)
def test_a_chunk_has_the_models_rows_or_its_share_of_five_hundred(rows, model_rows, interpreters, expected) -> None:
    """All rows are in one chunk each, in order."""
    assert sizes(rows, model_rows, interpreters) == expected
    assert [one.start for one in row_chunks(rows, model_rows, interpreters)] == [
        sum(expected[:place]) for place in range(len(expected))
    ]


def test_more_than_five_hundred_rows_are_refused_with_tensorflow_servings_text() -> None:
    """The limit is that of TensorFlow Serving's own splitting."""
    with pytest.raises(InvalidArgument) as refused:
        row_chunks(501, 1, 2)

    assert str(refused.value) == "Task size 501 is larger than maximum input batch size 500"
