"""Long lists of numbers are cut out where they are certainly what they seem, and read as the other lanes read them."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import InvalidArgument
from core.inference.dtypes import DataType
from core.json import cut_lists as cutting
from core.json import document
from core.json.cut_lists import EXTENSION, MOST_RANK, cut_lists, with_cut_lists
from core.json.elements import UnsuitableDocumentError
from core.rest import predict as rest_predict
from tests.unit.core.json.test_oracle import served

pytestmark = pytest.mark.skipif(cutting._extension() is None, reason="the compiled part was not built")


@pytest.fixture(scope="module", autouse=True, params=["short", "long"])
def way(request: pytest.FixtureRequest) -> Iterator[None]:
    """Cut the same lists as in short texts, and as in long ones."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "long":
            patch.setattr(cutting, "LEAST_BYTES", cutting.LEAST_SHORT_BYTES)
            patch.setattr(cutting, "LONGEST_SHORT_BYTES", -1)
        yield


def test_a_list_is_cut_out_with_its_shape_and_its_numbers() -> None:
    """What is left is valid, and a string stands where the list was."""
    cut = cut_lists(b'{"instances": [[1.5, 2, -3e2], [4, 5, 6]], "signature_name": "a"}')

    assert cut.rest == b'{"instances": "\\u00000", "signature_name": "a"}'
    (one,) = cut.lists
    assert (one.shape, one.numbers("d").tolist()) == ((2, 3), [1.5, 2.0, -300.0, 4.0, 5.0, 6.0])
    assert cut.at(json.loads(cut.rest)["instances"]) is one


@pytest.mark.parametrize(
    ("text", "whole", "unsigned"),
    [
        (b"[1, 2, 3, 4, 5]", True, True),
        (b"[1, 2, -3, 4, 5]", True, False),
        (b"[1, 2, 3.0, 4, 5]", False, False),
        (b"[1, 2, 3, 4, 5e0]", False, False),
        (b"[-9223372036854775807, -0, 0]", True, False),
    ],
)
def test_whole_numbers_are_whole_only_as_they_are_written(text: bytes, *, whole: bool, unsigned: bool) -> None:
    """An integer input refuses `3.0`, as TensorFlow Serving does."""
    (one,) = cut_lists(text).lists

    assert [one.numbers("i") is not None, one.numbers("u") is not None] == [whole, unsigned]
    assert one.numbers("d").tolist() == [float(number) for number in json.loads(text)]


@pytest.mark.parametrize(
    "text",
    [
        b'{"x": [1.25, 2.25, "a"]}',
        b'{"x": [1.25, 2.25, null]}',
        b'{"x": [1.25, 2.25, NaN]}',
        b'{"x": [1.25, 2.25, [3.5]]}',
        b'{"x": [1.25, 2.25, 03.5]}',
        b'{"x": [1.25, 2.25, .5]}',
        b'{"x": [1.25, 2.25, 5.]}',
        b'{"x": [1.25, 2.25, +5]}',
        b'{"x": [1.25, 2.25, 1e999]}',
        b'{"x": [1.25, 2.25, 12345678901234567890]}',
        b'{"x": [1.25, 2.25, 0.12345678901234567890123]}',
        b'{"x": [1.25, 2.25, 3.5}',
        b'{"x": [1.25, 2.25, 3.5,]}',
        b'{"x": [[], [], [], [], [], []]}',
        b'{"x": 1, [1.25, 2.25, 3.5]: 3}',
        b'{[1.25, 2.25, 3.5] : 3, "x": [1.25, 2.25, 3.5]}',
        b'{"x": [1.25, 2.25, 3.5], "y": {[1.25, 2.25, 3.5]\n:3}}',
        b'{"x": "[1.25, 2.25, 3.5, 4.5]"}',
        b'{"\\u0041": [1.25, 2.25, 3.5, 4.5]}',
        b"",
    ],
)
def test_what_is_in_doubt_stays_in_the_text(text: bytes) -> None:
    """Others know what to make of it, and which error to report."""
    assert cut_lists(text) is None


@pytest.mark.parametrize("limit", [0, 1 << 30], ids=["counted", "estimated"])
@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_there_is_room_for_the_shortest_numbers(monkeypatch: pytest.MonkeyPatch, kind: type, limit: int) -> None:
    """In texts of any kind."""
    monkeypatch.setattr(cutting, "LARGEST_UNCOUNTED_BYTES", limit)

    (one,) = cut_lists(kind(b"[1,2,3,4,5,6,7]")).lists

    assert one.numbers("i").tolist() == [1, 2, 3, 4, 5, 6, 7]


def test_a_list_within_another_one_is_read_by_others() -> None:
    """It is cut out where the outer one cannot be, and nobody takes it for a whole input."""
    for text in (
        b'{"data": [[1.25, 2.25], [3.5]]}',
        b'{"data": [[1.25, 2.25], 3.5]}',
        b'{"data": [{"data": [1.25, 2.25]}, 3]}',
    ):
        assert cut_lists(text) is not None
    assert with_cut_lists(b'{"data": [[1.25, 2.25], [3.5]]}', "data", dict) is None


def test_more_lists_than_there_is_room_for_stay_in_the_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """As do more numbers than commas allow."""
    monkeypatch.setattr(cutting, "MOST_LISTS", 2)
    monkeypatch.setattr(cutting, "_rooms", [])

    assert len(cut_lists(b'{"a": [1.25, 2.25, 3.5], "b": [1.25, 2.25, 3.5]}').lists) == 2
    assert cut_lists(b'{"a": [1.25, 2.25, 3.5], "b": [1.25, 2.25, 3.5], "c": [1.25, 2.25, 3.5]}') is None


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=3, max_size=8))
@settings(max_examples=500)
def test_every_double_is_the_one_that_was_written(values: list[float]) -> None:
    """To the last bit, whether it is cut out or left."""
    cut = cut_lists(json.dumps(values).encode())

    assert cut is None or cut.lists[0].numbers("d").tobytes() == np.array(values).tobytes()


TWO = {"a": DataType.FLOAT, "b": DataType.INT32}


@pytest.mark.parametrize(
    ("text", "dtypes", "is_cut"),
    [
        ('{"instances": [[1.5, 2.5], [3.5, 4.5]]}', {"a": DataType.FLOAT}, True),
        ('{"inputs": [[1.5, 2.5], [3.5, 4.5]]}', {"a": DataType.DOUBLE}, True),
        ('{"inputs": [[100, 200], [300, 400]]}', {"a": DataType.UINT32}, True),
        ('{"inputs": [[100, 200], [300, -400]]}', {"a": DataType.UINT32}, False),
        ('{"inputs": [[100, 200], [300, 4.5]]}', {"a": DataType.INT64}, False),
        ('{"inputs": [[100, 200], [300, 4e9]]}', {"a": DataType.INT32}, False),
        ('{"inputs": [[100, 200], [300, 400]]}', {"a": DataType.STRING}, False),
        ('{"inputs": {"b": [100, 200, 300], "a": [1.5, 2.5, 3.5]}}', TWO, True),
        ('{"inputs": {"b": [100, 200, 300], "a": [1.5, 2.5, 3.5], "c": [1.5, 2.5, 3.5]}}', TWO, True),
        ('{"inputs": {"b": 3, "a": [1.5, 2.5, 3.5]}}', TWO, False),
        ('{"inputs": {"b": [100, 200, 300]}}', TWO, False),
        ('{"instances": [{"a": [1.5, 2.5, 3], "b": [100, 200, 300]}, {"b": [1000, 2000, 3], "a": [1000, 2000, 3]}]}', TWO, True),
        ('{"instances": [{"a": [1.5, 2.5, 3], "b": [100, 200, 300]}, {"b": [1000, 2000, 3000]}]}', TWO, False),
        ('{"instances": [{"a": [1.5, 2.5, 3], "b": [100, 200, 300]}, {"b": [1000, 2000], "a": [1.5, 2.5, 3.5]}]}', TWO, False),
        ('{"instances": [{"a": [1.5, 2.5, 3], "b": [100, 200, 300]}, 5]}', TWO, False),
        ('{"instances": [1.5, 2.5, 3.5], "instances": [4.5, 5.5, 6.5]}', {"a": DataType.FLOAT}, True),
        ('{"instances": [1.5, 2.5, 3.5]}', TWO, False),
        ('{"instances": [], "x": [1.5, 2.5, 3.5]}', TWO, False),
        ('{"instances": [{}, {}], "x": [1.5, 2.5, 3.5]}', TWO, False),
    ],
)  # fmt: skip
def test_inputs_are_those_of_the_other_lanes(
    monkeypatch: pytest.MonkeyPatch, text: str, dtypes: dict[str, DataType], *, is_cut: bool
) -> None:
    """For one tensor, for named ones, and for rows of named ones; errors, too."""
    body, model = text.encode(), served(dtypes)

    def outcome() -> object:
        try:
            feeds = rest_predict.plan_predict(model, body).feeds
        except Exception as error:  # noqa: BLE001 - whichever it is
            return type(error), str(error)
        return {name: (one.dtype, one.shape, one.tolist()) for name, one in feeds.items()}

    lanes: list[str] = []
    monkeypatch.setitem(rest_predict.read_predict_body.__globals__, "_fast_inputs", lambda *_: lanes.append("simdjson"))
    ours = outcome()
    monkeypatch.undo()
    monkeypatch.setattr(cutting, "_extension", lambda: None)

    assert ours == outcome()
    assert (lanes == []) == is_cut


@pytest.mark.parametrize("length", [64, 8191, 8192, 8193, 20_000])
def test_texts_of_all_lengths_are_cut_alike(length: int) -> None:
    """At the end of the memory that is kept for short ones, too; and no text finds anything of the one before it."""
    for number in (1, 22, 333):
        values = [number] * ((length - 20) // len(f"{number},"))
        text = json.dumps({"inputs": values}, separators=(",", ":")).encode().ljust(length)

        cut = cut_lists(text)

        assert cut is not None
        assert cut.lists[0].numbers("i").tolist() == values
        assert cut.rest.rstrip() == b'{"inputs":"\\u00000"}'


def test_what_a_body_says_beside_its_numbers_is_remembered_for_that_text_alone() -> None:
    """Bodies that differ in it are read anew; one that nobody could read stays one that others must."""
    model = served({"a": DataType.FLOAT})
    for _ in range(2):
        assert rest_predict.plan_predict(model, b'{"inputs": [1.25, 2.25, 3.5]}').feeds["a"].tolist() == [
            1.25,
            2.25,
            3.5,
        ]
        by_row = rest_predict.plan_predict(model, b'{"instances": [1.5, 2.5, 3.75]}')
        assert by_row.feeds["a"].tolist() == [1.5, 2.5, 3.75]
        with pytest.raises(InvalidArgument, match="not found in signature def"):
            rest_predict.plan_predict(model, b'{"signature_name": "b", "inputs": [1.25, 2.25, 3.5]}')
        with pytest.raises(InvalidArgument, match="expecting only one of"):
            rest_predict.plan_predict(model, b'{"instances": [1.25, 2.25, 3.5], "inputs": [1.25, 2.25, 3.5]}')


@pytest.mark.parametrize(
    "text",
    [
        '{"instances": [1.5, 2.5, 3.5], [1, 2, 3, 4, 5, 6]: 3}',
        '{[1, 2, 3, 4, 5, 6]: 3, "instances": [1.5, 2.5, 3.5]}',
        '{"instances": [1.5, 2.5, 3.5], "q": {[1, 2, 3, 4, 5, 6]: 3}}',
    ],
)
def test_a_list_that_stands_for_a_name_is_refused(text: str) -> None:
    """It would become a string, and a valid name."""
    with pytest.raises(InvalidArgument, match="Missing a name for object member"):
        rest_predict.plan_predict(served({"a": DataType.FLOAT}), text.encode())
    assert with_cut_lists(text.replace("instances", "data").encode(), "data", dict) is None


def test_rows_without_their_lists_are_left_to_who_counts_their_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many they are: each usable row has one of the few lists."""
    monkeypatch.setattr(document, "LARGEST_DOCUMENT_BYTES", 1 << 20)
    body = b'{"instances": [%b], "x": [1.5, 2.5, 3.5]}' % b",".join([b"{}"] * 10_000)

    with pytest.raises(InvalidArgument, match="MiB of memory"):
        rest_predict.plan_predict(served({"a": DataType.FLOAT}), body)


def test_what_is_left_of_a_text_is_short_where_it_becomes_values() -> None:
    """A long rest is left to who counts its memory and can be interrupted."""
    for count, is_read in ((10, True), (10_000, False)):
        text = b'{"data": [1.25, 2.25, 3.5], "x": [%b]}' % b",".join([b"{}"] * count)

        assert (with_cut_lists(text, "data", len) is not None) == is_read


def test_threads_cut_texts_at_a_time() -> None:
    """Each in memory of its own."""
    texts = [json.dumps([number + 0.5] * 50).encode() for number in range(8)]

    def cut(number: int) -> bool:
        return all(cut_lists(texts[number]).lists[0].numbers("d").tolist() == [number + 0.5] * 50 for _ in range(500))

    with ThreadPoolExecutor(len(texts)) as pool:
        assert all(pool.map(cut, range(len(texts))))


def test_another_member_that_was_cut_out_leaves_the_text_to_others() -> None:
    """Its reader would find a string."""
    taken = with_cut_lists(b'{"data": [1.25, 2.25, 3.5], "x": {"data": [1.25, 2.25, 3.5]}}', "data", dict)

    assert taken["data"].numbers("d").tolist() == taken["x"]["data"].numbers("d").tolist() == [1.25, 2.25, 3.5]
    assert with_cut_lists(b'{"data": [1.25, 2.25, 3.5], "y": [1.25, 2.25, 3.5]}', "data", dict) is None
    assert with_cut_lists(b"[[1.25, 2.25, 3.5]]", "data", dict) is None
    assert with_cut_lists(b'{"data": [1.25, 2.25, 3.5], "y"}', "data", dict) is None


def test_a_reader_that_wants_the_values_gets_them_elsewhere() -> None:
    """How they were written decides about errors, and is not known any more."""
    assert with_cut_lists(b'{"data": [1.25, 2.25, 3.5]}', "data", lambda members: members["data"].values()) is None
    with pytest.raises(UnsuitableDocumentError):
        cut_lists(b"[1.25, 2.25, 3.5]").lists[0].values()


def test_deep_texts_are_left_to_who_counts_their_levels() -> None:
    """A list that was cut out may have eight."""
    text = b'{"x":' * 250 + b'{"data": [1.25, 2.25, 3.5]}' + b"}" * 250

    assert with_cut_lists(text, "data", dict) is None
    assert importlib.import_module(EXTENSION).lib.MOST_RANK == MOST_RANK


def test_without_the_compiled_part_nothing_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it was not built, or is left aside."""
    look = cutting._extension.__wrapped__
    monkeypatch.setenv(cutting.PURE_PYTHON_VARIABLE, "1")
    assert look() is None
    monkeypatch.delenv(cutting.PURE_PYTHON_VARIABLE)
    assert look() is not None
    monkeypatch.setattr(cutting, "EXTENSION", "core.json._not_built")
    assert look() is None
