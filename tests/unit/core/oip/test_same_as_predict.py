"""Both protocols give a model the same bits, and return the same bits of its outputs."""

from __future__ import annotations

import json
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.inference.dtypes import DataType
from core.oip.datatypes import NUMPY_OF
from core.oip.json_request import plan_json_infer
from core.rest.predict import plan_predict
from tests.support.oip_bodies import LANES, echo, forwarded, identity, parts, raw_tensor, request, tensor

pytestmark = pytest.mark.usefixtures("lists_cut")

KINDS = {"FP32": DataType.FLOAT, "FP64": DataType.DOUBLE, "INT32": DataType.INT32, "INT64": DataType.INT64}
DOUBLES = st.floats(width=64)


def expect_same(values: list[float] | list[int], datatype: str, shape: tuple[int, ...]) -> None:
    """Compare TensorFlow Serving's JSON, version 2's JSON by each parser, and its raw tensors."""
    model = identity(KINDS[datatype])
    nested = np.array(values, object).reshape(shape).tolist()
    (wanted,) = plan_predict(model, json.dumps({"inputs": nested}).encode()).feeds.values()
    for data in (values, nested):
        text = request(tensor(data, shape, datatype), parameters={"binary_data_output": True})
        for lane in LANES.values():
            plan = plan_json_infer(model, forwarded(lane(text)))
            assert plan.feeds["x:0"].tobytes() == wanted.tobytes()
            assert parts(echo(plan))[1] == wanted.tobytes()
    raw = wanted.tobytes()
    plan = plan_json_infer(model, forwarded(request(raw_tensor(len(raw), shape, datatype)), raw))
    assert plan.feeds["x:0"].tobytes() == raw


@given(st.lists(DOUBLES, min_size=6, max_size=6), st.sampled_from(["FP32", "FP64"]))
def test_p_floats_are_the_same_over_both_protocols(values: list[float], datatype: str) -> None:
    """Every double is rounded alike, also those too large or too small for the type."""
    expect_same(values, datatype, (2, 3))


@given(st.lists(st.integers(-(2**31), 2**31 - 1), min_size=4, max_size=4), st.sampled_from(list(KINDS)))
def test_p_integers_are_the_same_over_both_protocols(values: list[int], datatype: str) -> None:
    """As integers and as floats."""
    expect_same(values, datatype, (4,))


def test_p_long_tensors_are_the_same_over_both_protocols() -> None:
    """Where numbers come without an object for each."""
    values = np.random.default_rng(1).standard_normal(6000).tolist()

    expect_same(values, "FP32", (10, 20, 30))


@pytest.mark.parametrize("datatype", [name for name in NUMPY_OF if name not in {"BYTES", "BOOL"}])
@given(st.data())
def test_c_every_number_comes_back_from_json_as_it_was(datatype: str, data: st.DataObject) -> None:
    """From array to JSON to array, through an answer and a request, by each parser."""
    dtype = NUMPY_OF[datatype]
    bits = np.frombuffer(data.draw(st.binary(min_size=4 * dtype.itemsize, max_size=4 * dtype.itemsize)), dtype)
    with np.errstate(invalid="ignore"):
        is_finite = np.isfinite(bits.astype(np.float64))
    sent = np.where(is_finite, bits, dtype.type(0)).reshape(2, 2)
    model = identity(next(kind for kind in DataType if kind.name in names(datatype)))
    raw = request(raw_tensor(sent.nbytes, sent.shape, datatype))

    answer, _ = parts(echo(plan_json_infer(model, forwarded(raw, sent.tobytes()))))
    for lane in LANES.values():
        text = lane(request(answer["outputs"][0] | {"name": "x"}))
        assert plan_json_infer(model, forwarded(text)).feeds["x:0"].tobytes() == sent.tobytes()


def names(datatype: str) -> set[str]:
    """Return TensorFlow's names of a datatype."""
    return {{"FP16": "HALF", "BF16": "BFLOAT16", "FP32": "FLOAT", "FP64": "DOUBLE"}.get(datatype, datatype)}


@given(st.lists(st.booleans(), max_size=5), st.lists(st.text().map(str.encode), max_size=5))
def test_c_booleans_and_texts_come_back_from_json_as_they_were(truths: list[bool], texts: list[bytes]) -> None:
    """By each parser."""
    packed = b"".join(struct.pack("<I", len(text)) + text for text in texts)
    cases = (
        ("BOOL", DataType.BOOL, bytes(truths), truths),
        ("BYTES", DataType.STRING, packed, texts),
    )
    for datatype, kind, raw, values in cases:
        model = identity(kind)
        asked = forwarded(request(raw_tensor(len(raw), [len(values)], datatype)), raw)
        answer, _ = parts(echo(plan_json_infer(model, asked)))
        for lane in LANES.values():
            text = lane(request(answer["outputs"][0] | {"name": "x"}))
            assert plan_json_infer(model, forwarded(text)).feeds["x:0"].tolist() == values
