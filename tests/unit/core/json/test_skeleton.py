"""Skeletons of JSON texts: what is left of a text, what regular lists look like, and when the two are compared."""

from __future__ import annotations

import pytest
import simdjson

from core.json.elements import UnsuitableDocumentError
from core.json.skeleton import (
    FEW_STRINGS,
    LARGEST_FAST_RANK,
    check_skeleton,
    list_shape,
    list_skeleton,
    object_skeleton,
    skeleton,
    value_shape,
)


@pytest.mark.parametrize(
    ("text", "left"),
    [
        (b"[1, -2.5e3, true, null]", b"[,,,]"),
        (b'{"a": [1], "b": {}}', b"{:[],:{}}"),
        (b'["[,{:", "}"]', b"[,]"),
        (b'["\xff"]', b"[]"),
        (b"[%b]" % b",".join([b'"]["'] * (2 * FEW_STRINGS)), b"[%b]" % (b"," * (2 * FEW_STRINGS - 1))),
    ],
    ids=["scalars", "members", "brackets in strings", "not UTF-8", "many strings"],
)
def test_brackets_commas_and_colons_outside_of_strings_are_left(text, left) -> None:
    """Whatever stands between them."""
    assert skeleton(text) == left


def test_a_text_with_escapes_is_not_judged() -> None:
    """A quotation mark in a string would end it too early."""
    with pytest.raises(UnsuitableDocumentError):
        skeleton(b'["\\""]')


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((), b""), ((0,), b"[]"), ((1,), b"[]"), ((3,), b"[,,]"), ((2, 0), b"[[],[]]"), ((2, 2), b"[[,],[,]]")],
)
def test_regular_lists_have_one_skeleton(shape, expected) -> None:
    """Lists of none and of one scalar look alike; counting tells them apart."""
    assert list_skeleton(shape, limit=100) == expected


def test_a_skeleton_longer_than_its_text_is_not_written() -> None:
    """A short text cannot make the server write a long one."""
    assert list_skeleton((3,), limit=4) == b"[,,]"
    with pytest.raises(UnsuitableDocumentError):
        list_skeleton((3,), limit=3)
    with pytest.raises(UnsuitableDocumentError):
        list_skeleton((10**9, 10**9), limit=10**6)


@pytest.mark.parametrize(
    ("text", "shape"),
    [(b"[]", (0,)), (b"[1,2]", (2,)), (b"[[1],[2,3]]", (2, 1)), (b"[[],[1]]", (2, 0)), (b'["a"]', (1,))],
)
def test_the_first_elements_suggest_a_shape(text, shape) -> None:
    """The skeleton decides whether all others agree."""
    assert list_shape(simdjson.Parser().parse(text)) == shape


def test_lists_deeper_than_numpy_knows_are_left_to_the_exact_way() -> None:
    """So are objects where a tensor should be."""
    parser = simdjson.Parser()
    deep = b"[" * (LARGEST_FAST_RANK + 1) + b"]" * (LARGEST_FAST_RANK + 1)
    with pytest.raises(UnsuitableDocumentError):
        list_shape(parser.parse(deep))
    with pytest.raises(UnsuitableDocumentError):
        value_shape(parser.parse(b"{}"))


@pytest.mark.parametrize(
    ("text", "agrees"),
    [
        (b'{"instances": [[1,2],[3,4]]}', True),
        (b'{"signature_name": "", "instances": [[1,2],[3,4]]}', True),
        (b'{"instances": [[1,2],[3]]}', False),
        (b'{"instances": [[1,2],3,4]}', False),
        (b'{"instances": [[1,2],[3,4]], "more": []}', False),
    ],
    ids=["alone", "beside a scalar", "ragged", "flat", "beside a list"],
)
def test_a_text_agrees_if_all_else_is_scalar(text, agrees) -> None:
    """Brackets of another member could hide raggedness."""
    document = simdjson.Parser().parse(text)
    expected = list_skeleton((2, 2), limit=len(text))
    if agrees:
        check_skeleton(document, "instances", expected, text)
        return
    with pytest.raises(UnsuitableDocumentError):
        check_skeleton(document, "instances", expected, text)


def test_the_skeleton_of_an_object_has_a_colon_for_each_member() -> None:
    """Names are strings, of which nothing is left."""
    assert object_skeleton([b"[]", b""]) == b"{:[],:}"
