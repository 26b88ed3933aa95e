"""Tests of JSON answers: their members, their forms of values, and raw tensors behind them."""

from __future__ import annotations

import json
import struct

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import InvalidArgument
from core.inference.tensor_proto import bytes_array
from core.oip.datatypes import NUMPY_OF
from core.oip.infer_plan import InferAnswer, OutputTensor
from core.oip.json_answer import write_json_answer
from core.oip.rest_body import ALL_JSON, split_body
from tests.support.oip_bodies import parts


def written(*outputs: OutputTensor, id: str | None = None, by_default: bool = False, name: str = "m") -> bytes:  # noqa: A002
    """Write an answer, without its footer."""
    return write_json_answer(InferAnswer(name, "3", id, outputs), is_binary_by_default=by_default)[:-4]


def output(array: np.ndarray, datatype: str, name: str = "y", *, is_binary: bool | None = None) -> OutputTensor:
    return OutputTensor(name, datatype, array, is_binary)


def test_members_come_in_the_order_of_triton() -> None:
    """Without blanks, without null members, and with flat data."""
    array = np.arange(4, dtype=np.int8).reshape(2, 2)

    assert written(output(array, "INT8"), id="7") == (
        b'{"id":"7","model_name":"m","model_version":"3",'
        b'"outputs":[{"name":"y","datatype":"INT8","shape":[2,2],"data":[0,1,2,3]}]}'
    )
    assert written() == b'{"model_name":"m","model_version":"3","outputs":[]}'


def test_a_raw_output_says_its_size() -> None:
    """Its bytes stand behind the JSON, in the order of the outputs; others keep their data."""
    first = output(np.array([1, 2], np.uint16), "UINT16", "a", is_binary=True)
    second = output(np.array(5, np.float32), "FP32", "b")
    third = output(bytes_array([b"x", b""]), "BYTES", "c", is_binary=True)

    answer, raw = parts(
        write_json_answer(InferAnswer("m", "3", None, (first, second, third)), is_binary_by_default=False)
    )

    assert answer["outputs"] == [
        {"name": "a", "datatype": "UINT16", "shape": [2], "parameters": {"binary_data_size": 4}},
        {"name": "b", "datatype": "FP32", "shape": [], "data": [5.0]},
        {"name": "c", "datatype": "BYTES", "shape": [2], "parameters": {"binary_data_size": 9}},
    ]
    assert raw == b"\1\0\2\0" + b"\1\0\0\0x" + b"\0\0\0\0"


def test_h_what_is_not_finite_is_null() -> None:
    """JSON has no words for it, and clients that read strictly refuse them."""
    for datatype in ("FP16", "BF16", "FP32", "FP64"):
        array = np.array([np.nan, np.inf, -np.inf, 1], NUMPY_OF[datatype])
        assert b'"data":[null,null,null,1.0]' in written(output(array, datatype))
    signalling = np.array([0x7F81], np.uint16).view(NUMPY_OF["BF16"])
    assert b'"data":[null]' in written(output(signalling, "BF16"))


def test_g_bytes_that_are_not_text_must_be_asked_for_as_binary() -> None:
    """The text says how."""
    array = bytes_array([b"fine", b"\xff"])

    with pytest.raises(
        InvalidArgument, match=r"output 'y' holds bytes that are not UTF-8, .* ask for it with 'binary_data'"
    ):
        written(output(array, "BYTES"))
    assert written(output(array, "BYTES", is_binary=True)).endswith(b"\4\0\0\0fine\1\0\0\0\xff")


def test_g_half_a_character_is_not_text_although_the_next_string_would_complete_it() -> None:
    """Each string is judged alone."""
    with pytest.raises(InvalidArgument, match="not UTF-8"):
        written(output(bytes_array(["ü".encode()[:1], "ü".encode()[1:]]), "BYTES"))


@given(st.lists(st.text().map(str.encode), max_size=5))
def test_g_texts_are_escaped_as_json_needs_it(strings: list[bytes]) -> None:
    """Zero bytes, quotes and everything beyond ASCII come back as they were."""
    answer = json.loads(written(output(bytes_array(strings), "BYTES")))

    assert [text.encode() for text in answer["outputs"][0]["data"]] == strings


def test_names_are_quoted() -> None:
    """Of models, outputs and requests."""
    answer = json.loads(written(output(np.zeros(1, np.int8), "INT8", 'q"\\'), id="\0", name="grüße"))

    assert (answer["id"], answer["model_name"], answer["outputs"][0]["name"]) == ("\0", "grüße", 'q"\\')


def test_a_name_that_is_not_text_is_shown_as_well_as_json_can() -> None:
    """A command line can carry any bytes."""
    assert json.loads(written(name="m\udcff"))["model_name"] == "m?"


def test_values_are_in_row_major_order_whatever_their_memory_is() -> None:
    """Runtimes also return views."""
    array = np.arange(6, dtype=np.int32).reshape(2, 3)

    for form in (array, np.asfortranarray(array), np.arange(12, dtype=np.int32)[::2].reshape(2, 3) // 2):
        assert json.loads(written(output(form, "INT32")))["outputs"][0]["data"] == [0, 1, 2, 3, 4, 5]
    strided = np.arange(6, dtype=np.int32)[::2]
    assert json.loads(written(output(strided, "INT32")))["outputs"][0]["data"] == [0, 2, 4]
    assert written(output(strided, "INT32", is_binary=True)).endswith(struct.pack("<3i", 0, 2, 4))


def test_small_floats_are_written_with_the_digits_that_read_back_the_same() -> None:
    """bfloat16 by way of float32, which holds all of its values."""
    for datatype, values in (("FP16", np.float16([0.1, 65504])), ("BF16", np.array([0.1, 3e38], ml_dtypes.bfloat16))):
        data = json.loads(written(output(values, datatype)))["outputs"][0]["data"]
        assert np.array(data, values.dtype).tobytes() == values.tobytes()


def test_the_footer_says_that_all_is_json_where_no_raw_byte_follows() -> None:
    """Then the answer needs no header."""
    empty = write_json_answer(
        InferAnswer("m", "3", None, (output(np.zeros(0, np.int8), "INT8"),)), is_binary_by_default=True
    )

    assert empty.endswith(struct.pack("<i", ALL_JSON))
    assert bytes(split_body(empty).json).endswith(b'"parameters":{"binary_data_size":0}}]}')
