"""Which tensors an answer holds: names to fetched arrays, and rows that must agree in their number."""

from __future__ import annotations

import json

import numpy as np
import pytest

from core.errors import InvalidArgument
from core.rest.predict_answer import write_columns, write_rows


def test_two_outputs_may_share_a_tensor() -> None:
    """Each name prints the tensor that it stands for."""
    assert json.loads(write_rows({"a": 0, "b": 0}, [np.array([1])])) == {"predictions": [{"a": 1, "b": 1}]}


def test_rows_need_a_first_dimension() -> None:
    """A scalar cannot be split into examples."""
    with pytest.raises(InvalidArgument, match=r"^Tensor name: y has no shape information $"):
        write_rows({"y": 0}, [np.array(1.0)])


def test_rows_need_equal_first_dimensions() -> None:
    """Entries are made from all outputs together."""
    with pytest.raises(InvalidArgument, match=r"^Tensor name: b has inconsistent batch size: 3 expecting: 2$"):
        write_rows({"a": 0, "b": 1}, [np.zeros(2), np.zeros(3)])


@pytest.mark.parametrize("form", [write_rows, write_columns])
def test_an_answer_without_outputs_is_refused(form) -> None:
    """Such signatures can be called, but not over REST."""
    with pytest.raises(InvalidArgument, match=r"^Cannot convert empty tensor map to JSON$"):
        form({}, [])


def test_rows_without_examples_are_an_empty_list() -> None:
    """Whatever the outputs are; their types are not looked at."""
    empty = b'{\n    "predictions": []\n}'

    assert write_rows({"a": 0}, [np.zeros((0, 3), np.float16)]) == empty
    assert write_rows({"a": 0, "b": 1}, [np.zeros(0), np.zeros((0, 2))]) == empty


def test_one_output_has_no_name_and_several_have() -> None:
    """In rows and in columns."""
    y = np.array([1.5], np.float32)

    assert write_columns({"y": 0}, [y]) == b'{\n    "outputs": [1.5]\n}'
    assert json.loads(write_columns({"y": 0, "z": 0}, [y])) == {"outputs": {"y": [1.5], "z": [1.5]}}
    assert json.loads(write_rows({"y": 0, "z": 0}, [y])) == {"predictions": [{"y": 1.5, "z": 1.5}]}
