"""The codec against the oracle: same arrays or same error, for random good and bad documents."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from core.errors import ServingError
from core.inference.dtypes import DataType
from core.inference.signature import ServedModel, Signature
from core.json import document
from core.rest import predict as rest_predict
from tests.support import rest_oracle
from tests.support.served_models import spec, with_signature

pytestmark = pytest.mark.usefixtures("lists_cut")

SUPPORTED = [
    DataType.FLOAT,
    DataType.DOUBLE,
    DataType.INT32,
    DataType.INT16,
    DataType.INT8,
    DataType.UINT8,
    DataType.INT64,
    DataType.UINT32,
    DataType.UINT64,
    DataType.BOOL,
    DataType.STRING,
    DataType.HALF,
    DataType.BFLOAT16,
    DataType.UINT16,
    DataType.COMPLEX64,
]
NUMBERS = st.one_of(
    st.integers(-3, 300),
    st.integers(-(2**64), 2**65),
    st.sampled_from([2**31, 2**31 - 1, -(2**31), 2**32, 2**63, 2**64 - 1, -0.0, 1.0, 1e300, 3e-320]),
    st.floats(allow_nan=False),
    st.just(math.nan),
)
TEXTS = st.text(st.characters(min_codepoint=32, exclude_categories=["Cs"], exclude_characters="\x7f"), max_size=5)
BINARY = st.one_of(st.sampled_from(["aGVsbG8=", "aGVsbG8", "", "a", "a*b="]), TEXTS).map(lambda text: {"b64": text})
LEAVES = {
    "number": NUMBERS,
    "integer": st.integers(0, 100),
    "text": TEXTS | BINARY,
    "bool": st.booleans(),
    "any": st.one_of(NUMBERS, TEXTS, BINARY, st.booleans(), st.none()),
}
LEAF_OF = {DataType.FLOAT: "number", DataType.DOUBLE: "number", DataType.STRING: "text", DataType.BOOL: "bool"}


def nested(leaf: st.SearchStrategy, shape: list[int]) -> st.SearchStrategy:
    for size in reversed(shape):
        leaf = st.lists(leaf, min_size=size, max_size=size)
    return leaf


def regular(dtype: DataType, shape: list[int]) -> st.SearchStrategy:
    return nested(LEAVES[LEAF_OF.get(dtype, "integer")], shape)


SHAPES = st.lists(st.integers(0, 3), max_size=3)
CHAOS = st.recursive(
    LEAVES["any"], lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=2), max_leaves=8
)


TAILS = ["", "", "", " trailing", "}"]


class Pairs(list):
    """The members of an object, names perhaps repeated."""


@st.composite
def bodies(draw) -> tuple[str, dict[str, DataType]]:
    names = draw(st.lists(st.sampled_from(["a", "b", "b64", "long name"]), min_size=1, max_size=3, unique=True))
    dtypes = {name: draw(st.sampled_from(SUPPORTED)) for name in names}
    shapes = {name: draw(SHAPES) for name in names}
    good = {name: regular(dtypes[name], shapes[name]) for name in names}
    value = {
        "rows of objects": st.lists(st.fixed_dictionaries(good), min_size=1, max_size=3),
        "object": st.fixed_dictionaries(good, optional={"other": CHAOS}),
        "list": st.lists(good[names[0]], max_size=4),
        "shuffled": st.lists(st.permutations(names).flatmap(partial(in_order, good)), min_size=1, max_size=3),
    }
    form = draw(st.sampled_from(list(value)))
    content = draw(st.one_of(value[form], value[form], value[form].flatmap(damage), CHAOS))
    key = draw(st.sampled_from(["instances", "inputs"]))
    document = {key: content} | draw(st.dictionaries(st.sampled_from(["x", "instances", "note"]), CHAOS, max_size=1))
    blank = draw(st.sampled_from(["", "", " ", "\t\r\n "]))
    writer = partial(json.dumps, ensure_ascii=draw(st.booleans()))
    return written(draw(st.just(document) | repeating(document)), blank, writer) + draw(st.sampled_from(TAILS)), dtypes


def repeating(value) -> st.SearchStrategy:
    """Repeat a member of some object, with another value behind it."""
    if isinstance(value, list) and value:
        places = st.integers(0, len(value) - 1)
        return places.flatmap(lambda at: repeating(value[at]).map(partial(replaced, value, at)))
    if not isinstance(value, dict) or not value:
        return st.just(value)
    names = st.sampled_from(list(value))
    deeper = names.flatmap(lambda name: repeating(value[name]).map(partial(replaced, value, name)))
    return deeper | st.tuples(names, CHAOS).map(lambda member: Pairs([*value.items(), member]))


def written(value, blank: str, writer: Callable[[object], str]) -> str:
    """Write JSON with blanks in every place that may have them."""
    if isinstance(value, (dict, Pairs)):
        pairs = value.items() if isinstance(value, dict) else value
        members = [f"{blank}{writer(name)}{blank}:{written(member, blank, writer)}" for name, member in pairs]
        return f"{blank}{{{','.join(members)}{blank}}}{blank}"
    if isinstance(value, list):
        return f"{blank}[{','.join(written(part, blank, writer) for part in value)}{blank}]{blank}"
    return f"{blank}{writer(value)}{blank}"


def in_order(good: dict[str, st.SearchStrategy], names: list[str]) -> st.SearchStrategy:
    return st.tuples(*(good[name] for name in names)).map(lambda row: dict(zip(names, row, strict=True)))


def damage(content) -> st.SearchStrategy:
    """Replace or drop one thing somewhere."""
    if not content or not isinstance(content, (list, dict)):
        return CHAOS
    places = range(len(content)) if isinstance(content, list) else list(content)

    def put(place) -> st.SearchStrategy:
        old = content[place]
        new = st.one_of(damage(old), CHAOS) if isinstance(old, (list, dict)) else CHAOS
        return new.map(partial(replaced, content, place))

    def drop(place):
        return (
            [part for at, part in enumerate(content) if at != place]
            if isinstance(content, list)
            else {name: part for name, part in content.items() if name != place}
        )

    return st.sampled_from(places).flatmap(put) | st.sampled_from(places).map(drop)


def replaced(content, place, value):
    changed = content.copy()
    changed[place] = value
    return changed


def served(dtypes: dict[str, DataType]) -> ServedModel:
    inputs = {name: spec(name, dtype) for name, dtype in dtypes.items()}
    return with_signature(Signature(inputs, {"y": spec("y:0")}))


def ours(body: bytes, dtypes: dict[str, DataType]):
    try:
        return dict(rest_predict.plan_predict(served(dtypes), body).feeds)
    except ServingError as error:
        return error.code.name, str(error)


def expected(text: str, dtypes: dict[str, DataType]):
    try:
        return rest_oracle.read(text, dtypes)
    except rest_oracle.RefusalError as refusal:
        return refusal.code, refusal.text


def assert_same(actual, wanted) -> None:
    if isinstance(wanted, tuple) or isinstance(actual, tuple):
        assert actual == wanted
        return
    assert actual.keys() == wanted.keys()
    for name, array in wanted.items():
        assert actual[name].dtype == array.dtype
        assert actual[name].shape == array.shape
        assert repr(actual[name].tolist()) == repr(array.tolist())
        if array.dtype.kind == "f":
            assert np.array_equal(np.signbit(actual[name]), np.signbit(array))


ONE = {"a": DataType.FLOAT}
TWO = {"a": DataType.FLOAT, "b": DataType.FLOAT}


@settings(max_examples=200)
@given(bodies())
@example(('{"instances":[[1],[]]}', ONE))
@example(('{"instances":[[],[1]]}', ONE))
@example(('{"instances":[1,[2]]}', ONE))
@example(('{"inputs":[[[1,2],[3]],[[4],[5,6]]]}', ONE))
@example(('{"instances":[[1,2]],"instances":[3]}', ONE))
@example(('{"inputs":{"a":[1],"a":[2,3]}}', ONE))
@example(('{"instances":[{"a":[1],"b":[[2]]},{"b":[1],"a":[[2]]}]}', TWO))
@example(('{"instances":[{"a":1,"b":2,"a":3},{"b":1,"a":[[2]]}]}', TWO))
@example(('{"instances":[{"a":["x"]},{"a":[{"b64":"*"}]}]}', {"a": DataType.STRING}))
@example(('{"instances":[{"a":["x"]},{"a":[3]}]}', {"a": DataType.STRING}))
@example(('{"instances":[{"a":1},{"a":"x"}]}', ONE))
@example(('{"note":"a\\"[","instances":[1]}', ONE))
@example(('{"instances":[1,-0]}', {"a": DataType.UINT64}))
def test_every_document_gives_what_the_rules_say(case) -> None:
    """Fast lane, medium way and exact way agree with the plain reading of the rules."""
    text, dtypes = case
    if rest_oracle_cannot_tell(text, dtypes):
        return

    assert_same(ours(text.encode(), dtypes), expected(text, dtypes))


def rest_oracle_cannot_tell(text: str, dtypes: dict[str, DataType]) -> bool:
    """Binary rows for several inputs fail only after conversion."""
    document = rest_oracle.parse(text)
    rows = document.first("instances") if document.has("instances") else None
    return len(dtypes) > 1 and bool(rows) and rest_oracle.is_list(rows) and rest_oracle.is_binary(rows[0])


@pytest.mark.parametrize(
    ("text", "dtypes"),
    [
        ('{"instances":[[1,2.5],[3,4]]}', ONE),
        ('{"signature_name":"","instances":[[1,2.5],[3,4]]}', ONE),
        ('{"instances":[1,2,3]}', {"a": DataType.INT64}),
        ('{"inputs":{"a":[[1,2]],"b":3,"c":"[,{"}}', TWO),
        ('{"instances":[{"a":[1,2],"b":3},{"a":[1,2],"b":4}]}', TWO),
        ('{"instances":[{"a":"x","b":3},{"a":"y","b":4}]}', {"a": DataType.STRING, "b": DataType.UINT8}),
        ('{"instances":[["x","y"]]}', {"a": DataType.STRING}),
        ('{"instances":[' + ",".join(['{"a":[1,2],"b":3}'] * 20) + "]}", TWO),
        ('{"inputs":{"a":[["x"],["y"]]}}', {"a": DataType.STRING}),
        ('{"instances":[{"a":["x","y"]},{"a":["z",""]}]}', {"a": DataType.STRING}),
    ],
)
def test_usual_documents_take_the_fast_lane(text: str, dtypes: dict[str, DataType]) -> None:
    """The speed of common requests does not depend on luck."""
    body = text.encode()
    fast = partial(document._fast_request, served(dtypes).signatures.get, body)

    assert document.with_object(body, fast) is not None
