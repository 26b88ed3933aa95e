"""Tests of lists that stay in simdjson's memory until their reader knows what they hold."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from core.errors import InvalidArgument
from core.json import document as json_document
from core.json.long_lists import MOST_ITEMS, LongList, with_long_lists
from core.json.values import JsonObject


def of(data: Any, use: Callable[[LongList], Any], **others: Any) -> Any:
    """Apply a function to the list `data` of a document."""
    text = json.dumps({"data": data} | others).encode()
    return with_long_lists(text, "data", lambda members: (use(members["data"]),))[0]


def numbers(kind: str) -> Callable[[LongList], Any]:
    def read(one: LongList) -> Any:
        found = one.numbers(kind)
        return None if found is None else found.tolist()

    return read


@pytest.mark.parametrize("data", [[1, 2, 3, 4], [[1, 2], [3, 4]], [[[1], [2]], [[3], [4]]]])
def test_numbers_of_regular_lists_come_in_their_order(data: list) -> None:
    """Flat or nested; as doubles, int64 or uint64."""
    assert of(data, numbers("d")) == of(data, numbers("i")) == of(data, numbers("u")) == [1, 2, 3, 4]
    assert of(data, lambda one: one.shape) == np.array(data).shape


@pytest.mark.parametrize("data", [[1, [2, 3]], [[1, 2], [3]], [[1], []], [[], [1]], [[1, 2], 3], [[[1]], [2]]])
def test_ragged_lists_have_no_numbers(data: list) -> None:
    """A buffer would not show how they were nested."""
    assert of(data, numbers("d")) is None
    assert of(data, lambda one: one.values()) == data


@pytest.mark.parametrize("data", [[1, "a"], [None], [True], [[1], [{}]]])
def test_other_values_are_not_numbers(data: list) -> None:
    """They are read as values."""
    assert of(data, numbers("d")) is None
    values = of(data, lambda one: one.values())
    assert len(values) == len(data)


def test_numbers_that_do_not_fit_a_kind_are_not_read_as_one() -> None:
    """Nothing is rounded, cut off or wrapped."""
    assert of([1.5], numbers("i")) is None
    assert of([-1], numbers("u")) is None
    assert of([2**63], numbers("i")) is None
    assert of([2**63], numbers("u")) == [2**63]


def test_empty_lists_have_no_numbers_to_read() -> None:
    """Which is not a failure."""
    assert of([], numbers("d")) == []
    assert of([[], []], numbers("i")) == []


def test_brackets_in_strings_are_no_lists() -> None:
    """They only make the proof a little longer."""
    assert of([1, 2], numbers("d"), name="[[", other=["]"]) == [1, 2]
    assert of([[1], [2]], numbers("d"), name="[[", other={"a": [1, {"b": "]"}]}) == [1, 2]
    assert of([[1], []], numbers("d"), name="]") is None


def test_lists_are_found_at_any_level() -> None:
    """And one that is not regular makes all others unknown, as there is one proof."""
    text = b'{"a":[{"data":[[1,2]]},{"data":[3]}],"data":5}'

    def shapes(members: Any) -> Any:
        assert members["data"] == 5
        return [one["data"].shape for one in members["a"]]

    assert with_long_lists(text, "data", shapes) == [(1, 2), (1,)]
    assert with_long_lists(text.replace(b"[1,2]", b"[1,2],3"), "data", shapes) == [None, None]


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(b"[1]", id="not an object"),
        pytest.param(b'{"a":NaN}', id="not JSON"),
        pytest.param(b'{"a":1,"a":2}', id="a name twice"),
        pytest.param(b'{"a":[[[[[[1]]]]]]}', id="deep"),
        pytest.param(b'{"a":[%b1]}' % (b"1," * MOST_ITEMS), id="many"),
    ],
)
def test_unusual_documents_are_left_to_the_exact_parser(text: bytes) -> None:
    """It is slower, and knows everything."""
    assert with_long_lists(text, "data", lambda members: members) is None


def test_values_are_plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Objects keep their members, and what needs too much memory is refused."""
    (made,) = of([{"b": [1, 2]}], lambda one: one.values())
    assert isinstance(made, JsonObject)
    assert made.first_values() == {"b": [1, 2]}

    monkeypatch.setattr(json_document, "LARGEST_DOCUMENT_BYTES", 100)
    with pytest.raises(InvalidArgument, match="MiB of memory"):
        of([{"b": [1, 2]}], lambda one: one.values())
