"""What a request may give to Python code, and the texts for what it may not."""

from __future__ import annotations

import numpy as np
import pytest

from core.errors import InvalidArgument
from core.platforms.declared_signature import declared_signature
from core.platforms.given_arrays import DeclaredInputs, wanted_arrays

DECLARED = declared_signature({"x": ("float32", (None, 2)), "t": "string"}, {"y": "float32"}, "m.py").inputs
X = np.ones((3, 2), np.float32)
T = np.array([b"a"], dtype=object)


def test_inputs_come_by_name_and_in_the_order_of_the_declaration() -> None:
    """Arrays that may be written to are passed on as they are."""
    given = DeclaredInputs(DECLARED).given({"t": T, "x": X})

    assert list(given) == ["x", "t"]
    assert given["x"] is X


def test_a_view_of_the_request_is_copied() -> None:
    """Code that writes to its input would fail, or change the bytes of the request."""
    view = np.frombuffer(X.tobytes(), np.float32).reshape(3, 2)

    given = DeclaredInputs(DECLARED).given({"x": view, "t": T})["x"]

    assert given.flags.writeable
    np.testing.assert_array_equal(given, view)


@pytest.mark.parametrize(
    ("feeds", "told"),
    [
        ({"t": T}, r'Input "x" is declared as float32 \(None, 2\), but is missing'),
        ({"t": T, "x": X.astype(np.float64)}, r'"x" is declared as float32 \(None, 2\), but double was given'),
        ({"t": T, "x": X[:, :1]}, r'"x" is declared as float32 \(None, 2\), but shape \(3, 1\) was given'),
        ({"t": T, "x": X[0]}, r'"x" is declared as float32 \(None, 2\), but shape \(2,\) was given'),
        ({"t": X, "x": X}, '"t" is declared as string of any shape, but float was given'),
        ({"t": T, "x": X, "z": X, "a": X}, "Tensor a,z is not in the graph of the model"),
        ({}, 'Input "x"'),
    ],
)
def test_what_was_not_declared_is_refused_by_name(feeds: dict[str, np.ndarray], told: str) -> None:
    """The text says what was declared and what came."""
    with pytest.raises(InvalidArgument, match=told):
        DeclaredInputs(DECLARED).given(feeds)


def test_outputs_are_taken_in_the_order_in_which_they_are_wanted() -> None:
    """An output may be left out, and may be asked for twice."""
    assert wanted_arrays({"a": T, "b": X}, ["b", "a", "b"])[1] is T
    with pytest.raises(InvalidArgument, match="Tensor z is not in the graph"):
        wanted_arrays({"a": T}, ["a", "z"])
