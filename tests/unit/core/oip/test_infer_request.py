"""Tests of requests, whichever way they came: shapes and parameters."""

from __future__ import annotations

import pytest

from core.errors import InvalidArgument
from core.oip.infer_request import (
    InferRequest,
    check_request_parameters,
    check_tensor_parameters,
    dimensions_text,
    element_count,
)


@pytest.mark.parametrize(("shape", "count"), [((), 1), ((0,), 0), ((2, 3), 6), ((0, 5), 0), ((1,) * 64, 1)])
def test_n_a_shape_has_so_many_elements(shape: tuple[int, ...], count: int) -> None:
    """A scalar has one."""
    assert element_count("x", shape, 4) == count


@pytest.mark.parametrize("shape", [(2**31,), (2**62, 2**62), (0, 2**62), (2**30, 2)])
def test_absurd_shapes_are_refused_before_anything_is_made_of_them(shape: tuple[int, ...]) -> None:
    """A zero does not hide its neighbours."""
    with pytest.raises(InvalidArgument, match="larger than 2147483647 bytes"):
        element_count("x", shape, 1)


def test_dimensions_are_never_negative() -> None:
    """The protocol has no unknown sizes in requests."""
    with pytest.raises(InvalidArgument, match=r"^input 'x' has a negative dimension: \[1,-1\]$"):
        element_count("x", (1, -1), 1)


def test_shapes_are_written_as_clients_know_them() -> None:
    """Without blanks."""
    assert (dimensions_text([]), dimensions_text((-1, 2))) == ("[]", "[-1,2]")


def test_a_request_asks_for_everything_unless_it_says_otherwise() -> None:
    """And has neither an id nor parameters."""
    request = InferRequest(())

    assert (request.outputs, request.id, dict(request.parameters)) == ((), None, {})


def test_unknown_parameters_are_ignored() -> None:
    """Each server has its own."""
    check_request_parameters(["priority", "timeout", "content_type", "sequence", "triton_enable_empty_final_response"])
    check_tensor_parameters("input 'x'", ["binary_data_size", "content_type", "classification_labels"])


@pytest.mark.parametrize("key", ["sequence_id", "sequence_start", "sequence_end", "triton_final_response"])
def test_parameters_that_change_the_meaning_of_a_request_are_refused(key: str) -> None:
    """By name."""
    with pytest.raises(InvalidArgument, match=key):
        check_request_parameters(["priority", key])


@pytest.mark.parametrize("key", ["shared_memory_region", "shared_memory_byte_size", "classification"])
def test_parameters_that_change_where_a_tensor_is_are_refused(key: str) -> None:
    """With the tensor."""
    with pytest.raises(InvalidArgument, match=f"^output 'y' has parameter '{key}': "):
        check_tensor_parameters("output 'y'", [key])
