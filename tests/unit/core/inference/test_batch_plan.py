"""Merging requests and cutting their answers apart."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from core.errors import FailedPrecondition, Internal, InvalidArgument
from core.inference.batch_plan import in_order, join, kind, merge, padded_size, queue_key, rows_between, rows_of, split
from core.inference.run_plan import RunPlan


def plan(fetches: tuple[str, ...] = ("y:0",), **feeds: np.ndarray) -> RunPlan:
    """Make a plan whose answer nobody prints."""
    return RunPlan({f"{name}:0": array for name, array in feeds.items()}, fetches, lambda _: b"")


def floats(*shape: int, start: int = 0) -> np.ndarray:
    """Make an array whose elements all differ."""
    return np.arange(start, start + np.prod(shape), dtype=np.float32).reshape(shape)


def texts(*values: str) -> np.ndarray:
    """Make a column of strings as the model is fed them."""
    return np.array([value.encode() for value in values], object)


def test_the_first_dimension_counts() -> None:
    """All inputs agree on it, and it may be 0."""
    assert rows_of(plan(x=floats(3, 2), y=floats(3))) == 3
    assert rows_of(plan(x=floats(0, 2))) == 0


@pytest.mark.parametrize(
    ("feeds", "message"),
    [
        ({}, "Batching Run() must have at least one input tensor"),
        ({"x": floats(2), "y": np.float32(1)}, "Batching Run() input tensors must have at least one dimension"),
        ({"x": floats(2), "y": floats(3)}, "Batching Run() input tensors must have equal 0th-dimension size"),
    ],
    ids=["none", "scalar", "unequal"],
)
def test_requests_that_cannot_be_batched_are_refused(feeds, message) -> None:
    """The texts are TensorFlow Serving's."""
    with pytest.raises(InvalidArgument, match=f"^{message.replace('()', '..')}$"):
        rows_of(plan(**feeds))


def test_a_queue_is_named_by_its_tensors() -> None:
    """In any order, and whatever the signature that led to them."""
    one = plan(("y:0", "z:0"), a=floats(1), b=floats(1))
    other = plan(("z:0", "y:0"), b=floats(5, 7), a=texts("t"))

    assert queue_key(one) == queue_key(other)
    assert queue_key(one) != queue_key(plan(("y:0",), a=floats(1), b=floats(1)))
    assert queue_key(one) != queue_key(plan(("y:0", "z:0"), a=floats(1)))


@pytest.mark.parametrize(
    "other",
    [
        plan(x=floats(1, 3)),
        plan(x=floats(1, 2, 1)),
        plan(x=floats(1, 2).astype(np.float64)),
        plan(x=floats(1, 2).astype(ml_dtypes.bfloat16)),
        plan(("z:0",), x=floats(1, 2)),
    ],
    ids=["width", "rank", "type", "short_float", "fetch"],
)
def test_requests_that_cannot_be_merged_are_of_different_kinds(other) -> None:
    """So they never meet, and none can spoil the other's run."""
    assert kind(plan(x=floats(1, 2))) != kind(other)


def test_requests_of_one_kind_may_have_any_number_of_rows() -> None:
    """And may name their inputs and outputs in any order."""
    assert kind(plan(a=floats(1, 2), b=floats(1))) == kind(plan(b=floats(9), a=floats(9, 2)))
    assert kind(plan(("y:0", "z:0"), x=floats(1))) == kind(plan(("z:0", "y:0"), x=floats(2)))


def test_with_padding_only_ranks_and_types_must_agree() -> None:
    """Widths are made equal."""
    padded = kind(plan(x=floats(1, 2)), padded=True)

    assert padded == kind(plan(x=floats(4, 9)), padded=True)
    assert padded != kind(plan(x=floats(4, 9, 1)), padded=True)
    assert padded != kind(plan(x=floats(1, 2).astype(np.int32)), padded=True)
    assert padded != kind(plan(x=floats(1, 2)))


@pytest.mark.parametrize(
    ("rows", "allowed", "size"),
    [
        pytest.param(2, (2, 4), 2, id="case_N10"),
        pytest.param(2, (1, 3, 4), 3, id="case_N11"),
        pytest.param(5, (2, 4), 5, id="above_the_last"),
        pytest.param(7, (), 7, id="any"),
    ],
)
def test_batches_grow_to_the_smallest_allowed_size(rows, allowed, size) -> None:
    """And stay as they are when none is large enough."""
    assert padded_size(rows, allowed) == size


def test_a_request_alone_is_not_copied() -> None:
    """A batch of one passes through, and so does the only one with rows."""
    alone, empty = {"x": floats(2, 3)}, {"x": floats(0, 3)}

    assert merge([alone])["x"] is alone["x"]
    assert merge([empty, alone, empty])["x"] is alone["x"]
    assert merge([empty])["x"] is empty["x"]


def test_rows_are_stacked_in_the_order_of_the_requests() -> None:
    """For every input."""
    merged = merge([{"x": floats(2), "s": texts("a", "b")}, {"x": floats(1, start=9), "s": texts("c")}])

    assert merged["x"].tolist() == [0, 1, 9]
    assert merged["s"].tolist() == [b"a", b"b", b"c"]


@pytest.mark.parametrize("padded", [False, True])
def test_padding_rows_repeat_the_first_row_of_the_last_request(padded) -> None:
    """Not its last row, and not zeros."""
    merged = merge([{"x": floats(1, 2)}, {"x": floats(2, 2, start=10)}], (6,), padded=padded)["x"]

    assert merged.tolist() == [[0, 1], [10, 11], [12, 13], [10, 11], [10, 11], [10, 11]]


def test_a_last_request_without_rows_repeats_nothing() -> None:
    """The last one that has rows is repeated, and a batch without rows stays empty."""
    assert merge([{"x": floats(1)}, {"x": floats(0)}], (3,))["x"].tolist() == [0, 0, 0]
    assert merge([{"x": floats(0)}, {"x": floats(0)}], (3,))["x"].shape == (0,)
    assert merge([{"x": floats(0, 2)}, {"x": floats(0, 3)}], (3,), padded=True)["x"].shape[0] == 0


def test_case_N5_rows_of_different_shape_without_padding() -> None:
    """The text names the tensor; the kinds of requests keep this from happening."""
    with pytest.raises(FailedPrecondition) as raised:
        merge([{"x": floats(1, 2)}, {"x": floats(1, 3)}])

    assert str(raised.value) == (
        "Tensors with name 'x' from different tasks have different shapes and padding is turned off. Set "
        "pad_variable_length_inputs to true, or ensure that all tensors with the same name have equal dimensions "
        "starting with the first dim."
    )


def test_rows_grow_at_their_ends_by_the_first_element_of_their_own_request() -> None:
    """To the widest of the batch, in every dimension but the first."""
    merged = merge([{"x": floats(1, 1, 2, start=5)}, {"x": floats(2, 2, 1, start=20)}], (4,), padded=True)["x"]

    assert merged.tolist() == [
        [[5, 6], [5, 5]],
        [[20, 20], [21, 20]],
        [[22, 20], [23, 20]],
        [[20, 20], [21, 20]],
    ]


def test_strings_grow_too() -> None:
    """Their first element is a string."""
    merged = merge([{"s": texts("a", "b").reshape(1, 2)}, {"s": texts("c").reshape(1, 1)}], padded=True)["s"]

    assert merged.tolist() == [[b"a", b"b"], [b"c", b"c"]]


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ([(1, 2), (1, 0)], "Got empty tensor in batch of non-empty tensors."),
        ([(1,) * 7, (1,) * 6 + (2,)], "Only tensors with rank from 1 to 6 can be padded."),
    ],
    ids=["empty", "rank"],
)
def test_what_cannot_grow_is_refused(shapes, message) -> None:
    """There is no first element, or TensorFlow Serving knows no way."""
    with pytest.raises(InvalidArgument, match=message):
        merge([{"x": floats(*shape)} for shape in shapes], padded=True)


def test_filling_repeats_all_bits_of_an_element() -> None:
    """A signalling NaN stays one, as a copy of memory would leave it."""
    special = np.array([[0x7F800001]], np.uint32).view(np.float32)

    merged = merge([{"x": special}, {"x": floats(1, 2)}], padded=True)["x"]

    assert merged.view(np.uint32)[0].tolist() == [0x7F800001, 0x7F800001]


def test_a_request_without_rows_has_nothing_to_grow() -> None:
    """It is no empty tensor among others."""
    merged = merge([{"x": floats(0, 1)}, {"x": floats(1, 2)}, {"x": floats(1, 1)}], padded=True)["x"]

    assert merged.tolist() == [[0, 1], [0, 0]]


@pytest.mark.parametrize(
    ("output", "message"),
    [
        pytest.param(np.float32(1), "Batched output tensor has 0 dimensions", id="case_N23"),
        pytest.param(
            floats(2),
            "Batched output tensor's 0th dimension does not equal the sum of the 0th dimension sizes of the input "
            "tensors",
            id="not_per_row",
        ),
    ],
)
def test_outputs_that_are_not_per_row_are_refused(output, message) -> None:
    """Nobody could say whose they are."""
    with pytest.raises(FailedPrecondition) as raised:
        split([np.asarray(output)], [1, 2], 3)

    assert str(raised.value) == message


def test_pieces_of_a_request_are_views_and_fit_together_again() -> None:
    """Cutting copies nothing, and one piece is its own answer."""
    feeds = {"x": floats(5, 2)}
    pieces = [rows_between(feeds, 0, 3), rows_between(feeds, 3, 5)]
    outputs = [[piece["x"], piece["x"][:, 0]] for piece in pieces]

    assert all(np.shares_memory(piece["x"], feeds["x"]) for piece in pieces)
    assert join(outputs)[0].tolist() == feeds["x"].tolist()
    assert join(outputs)[1].tolist() == feeds["x"][:, 0].tolist()
    assert join(outputs[:1]) is outputs[0]


@pytest.mark.parametrize("wanted", [("y", "z"), ("z", "y"), ("z",), ("y", "y")])
def test_each_request_gets_the_outputs_in_its_own_order(wanted: tuple[str, ...]) -> None:
    """Whatever the order of the run that it shared."""
    outputs = {"y": floats(1), "z": floats(2)}

    answer = in_order(list(outputs.values()), ("y", "z"), wanted)

    assert [one is outputs[name] for one, name in zip(answer, wanted, strict=True)] == [True] * len(wanted)


def test_pieces_whose_answers_differ_in_width_are_an_error() -> None:
    """The model itself made them so."""
    with pytest.raises(Internal, match=r"^Tensor concat operation failed: "):
        join([[floats(1, 2)], [floats(1, 3)]])


SIZES = st.lists(st.integers(0, 4), min_size=1, max_size=6)
ALLOWED = st.sets(st.integers(1, 30), max_size=4).map(lambda sizes: tuple(sorted(sizes)))


@given(SIZES, ALLOWED, st.integers(0, 3))
@example([0], (), 1)
@example([0, 2, 0], (4,), 2)
@example([3, 1], (2,), 0)
def test_what_is_merged_is_cut_apart_again(sizes, allowed, width) -> None:
    """Whatever the sizes, every request gets its own rows, and surplus rows reach nobody."""
    requests = [{"x": floats(size, width, start=100 * index)} for index, size in enumerate(sizes)]

    merged = merge(requests, allowed)["x"]
    answers = split([merged, merged * 2], sizes, merged.shape[0])

    assert merged.shape[0] == (padded_size(sum(sizes), allowed) if sum(sizes) else 0)
    for request, (same, doubled) in zip(requests, answers, strict=True):
        assert np.array_equal(same, request["x"])
        assert np.array_equal(doubled, request["x"] * 2)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 3), st.integers(1, 3)), min_size=1, max_size=5), ALLOWED)
@example([(0, 3, 1), (1, 1, 3), (2, 2, 2)], (5,))
def test_what_has_grown_still_holds_every_element(shapes, allowed) -> None:
    """At the beginning of its rows; all the rest is the request's first element."""
    requests = [{"x": floats(*shape, start=1 + 100 * index)} for index, shape in enumerate(shapes)]

    merged = merge(requests, allowed, padded=True)["x"]

    for request, (rows,) in zip(
        requests, split([merged], [shape[0] for shape in shapes], merged.shape[0]), strict=True
    ):
        own = request["x"]
        if not own.shape[0]:
            continue
        assert np.array_equal(rows[:, : own.shape[1], : own.shape[2]], own)
        assert set(rows.ravel()) == set(own.ravel())
        assert (rows == own.flat[0]).sum() == rows.size - own.size + 1
