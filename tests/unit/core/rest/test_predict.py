"""Tests of REST predict."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from core.config.server_settings import AnswerSettings
from core.errors import HTTP_STATUS, Internal, InvalidArgument, ServingError
from core.inference.dtypes import DataType
from core.inference.signature import ServedModel, Signature
from core.inference.tensor_proto import bytes_array
from core.json.tensors import fast_tensor
from core.methods import planners
from core.rest import predict as rest_predict
from core.rest.predict import check_predict_body
from core.routing.transport import Method
from tests.support.served_models import answer, half_plus_two, spec, with_signature

pytestmark = pytest.mark.usefixtures("lists_cut")

F, N, S = DataType.FLOAT, DataType.INT32, DataType.STRING
DEEP = b"[" * 255 + b"]" * 255
"""As deep as the member of an object may be."""
TOO_DEEP = "^the request JSON is nested deeper than 256 levels$"
PRETTY_NAME = "not formatted correctly. 'signature_name' key must be a string value."
EMPTY = np.zeros(0, np.float32)


def served(inputs: dict[str, DataType]) -> ServedModel:
    specs = {name: spec(f"{name}:0", dtype) for name, dtype in inputs.items()}
    return with_signature(Signature(specs, {"y": spec("y:0")}))


def tensors(body: bytes, inputs: dict[str, DataType]) -> dict[str, np.ndarray]:
    feeds = rest_predict.plan_predict(served(inputs), body).feeds
    return {name.removesuffix(":0"): array for name, array in feeds.items()}


def text(*values: str) -> np.ndarray:
    return bytes_array([value.encode() for value in values])


def floats(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


INT_TENSOR = np.array([[[1, 2], [3, 4], [5, 6]]], np.int32)


@pytest.mark.parametrize(
    ("inputs", "body", "wanted"),
    [
        pytest.param({"default": N}, b'{"instances":[1],"nested":' + DEEP + b"}", [1], id="case_B2 of 256 levels"),
        pytest.param(
            {"default": F},
            b'{"instances":[1,2.0,3,4,5.003,0.007,0.0]}',
            floats(1, 2, 3, 4, 5.003, 0.007, 0),
            id="case_B4",
        ),
        pytest.param(
            {"default": F},
            b'{"instances":[1.7976931348623157e308,-1.7976931348623157e308]}',
            floats(np.inf, -np.inf),
            id="case_B7",
        ),
        pytest.param(
            {"default": F},
            b'{"instances":[2.2250738585072014e-308,-2.2250738585072014e-308]}',
            floats(0, -0.0),
            id="case_B8",
        ),
        pytest.param(
            {"default": S},
            b'{"instances":[{"b64":"aGVsbG8="},{"b64":"d29ybGQ="}]}',
            text("hello", "world"),
            id="case_B11",
        ),
        pytest.param(
            {"default": S},
            b'{"instances":[[{"b64":"aGVsbG8="}],[{"b64":"d29ybGQ="}]]}',
            text("hello", "world").reshape(2, 1),
            id="case_B12",
        ),
        pytest.param({"int_tensor": N}, b'{"inputs":[[[1,2],[3,4],[5,6]]]}', INT_TENSOR, id="case_B16"),
        pytest.param({"a": F}, b'{"inputs":5}', np.array(5, np.float32), id="case_B39"),
        pytest.param({"a": F}, b'{"inputs":[1]} trailing', floats(1), id="case_B58"),
        pytest.param(
            {"a": DataType.UINT64},
            b'{"inputs":[18446744073709551615]}',
            np.array([2**64 - 1], np.uint64),
            id="case_B62",
        ),
        pytest.param({"a": F}, b'{"inputs":[]}', EMPTY, id="empty batch"),
        pytest.param({"a": F}, b'{"inputs":[[]]}', EMPTY.reshape(1, 0), id="empty row"),
        pytest.param({"a": F}, b'{"inputs":{"a":3,"more":{}}}', np.array(3, np.float32), id="extra member"),
        pytest.param({"a": F}, b'{"instances":[{"a":1},{"a":2}]}', floats(1, 2), id="one input named"),
        pytest.param({"a": F}, b'{"instances":[NaN,-Infinity,Inf]}', floats(np.nan, -np.inf, np.inf), id="not finite"),
        pytest.param({"a": F}, b'{"inputs":[1435774380]}', floats(1435774336), id="precision loss"),
        pytest.param({"a": DataType.UINT8}, b'{"inputs":[300,-1]}', np.array([44, 255], np.uint8), id="wrap-around"),
        pytest.param({"a": DataType.BOOL}, b'{"inputs":[true,false]}', np.array([True, False]), id="bool"),
        pytest.param({"b64": S}, b'{"inputs":{"b64":"aGk="}}', np.array(b"hi", object), id="input named b64"),
        pytest.param({"a": S}, b'{"inputs":["\\u0000","\xff"]}', bytes_array([b"\0", b"\xff"]), id="odd strings"),
        pytest.param({"a": S}, b'{"inputs":[]}', bytes_array([]), id="no strings"),
        pytest.param({"a": DataType.HALF}, b'{"inputs":[]}', np.zeros(0, np.float16), id="no value, no complaint"),
        pytest.param(
            {"a": DataType.HALF}, b'{"instances":[[],[]]}', np.zeros((2, 0), np.float16), id="rows without values"
        ),
        pytest.param({"a": F}, b'{"instances":[1]}' + b" " * 9_000_000, floats(1), id="larger than is remembered"),
        pytest.param({"a": F}, b'{"instances":[1],"instances":[[2]]}', floats(1), id="first instances"),
        pytest.param({"a": F}, b'{"inputs":{"a":[1],"a":[2,3]}}', floats(1), id="first member"),
        pytest.param({"a": F}, b'{"instances":[{"a":1,"a":[2]}]}', floats(1), id="first of a row"),
    ],
)
def test_bodies_become_tensors(inputs: dict[str, DataType], body: bytes, wanted) -> None:
    """The type comes from the signature, the shape from the lists."""
    (array,) = tensors(body, inputs).values()

    assert array.shape == np.shape(wanted)
    assert array.dtype == getattr(wanted, "dtype", np.int32)
    assert repr(array.tolist()) == repr(np.asarray(wanted, array.dtype).tolist())


def test_case_B17_inputs_of_any_shape_stand_side_by_side() -> None:
    """Columns need not agree in their first dimension."""
    body = b'{"inputs":{"int_tensor":[[[1,2],[3,4],[5,6]]],"str_tensor":["foo","bar"],"bin_tensor":{"b64":"aGVsbG8="}}}'

    found = tensors(body, {"int_tensor": N, "str_tensor": S, "bin_tensor": S})

    assert np.array_equal(found["int_tensor"], INT_TENSOR)
    assert found["str_tensor"].tolist() == [b"foo", b"bar"]
    assert found["bin_tensor"].shape == ()
    assert found["bin_tensor"].item() == b"hello"


def test_case_B3_a_deep_signature_name_is_refused() -> None:
    """Up to the limit depth alone is not an error; the type of the name is."""
    body = b'{"signature_name":' + DEEP + b"}"

    for call in (check_predict_body, lambda body: rest_predict.plan_predict(served({"default": N}), body)):
        with pytest.raises(InvalidArgument, match=f"{PRETTY_NAME}$"):
            call(body)


@pytest.mark.parametrize("levels", [256, 1000, 2000, 500_000])
@pytest.mark.parametrize(
    ("dtype", "body"),
    [
        pytest.param(N, b'{"instances":[1],"more":%b}', id="case_B2"),
        pytest.param(N, b'{"signature_name":%b,"instances":[1]}', id="case_B3"),
        pytest.param(
            N, b'{"more":[%b,"long",[1,2,3,4,5,6,7,8,9]],"inputs":[1,2,3,4,5,6,7,8,9]}', id="beside a cut list"
        ),
        pytest.param(N, b'{"instances":%b}', id="as the input"),
        pytest.param(S, b'{"instances":["word"],"more":%b}', id="beside strings"),
        pytest.param(N, b'{"instances":[{"default":1},{"default":%b}]}', id="in a row"),
        pytest.param(N, b'{"instances":[NaN],"more":%b}', id="where simdjson gives up"),
        pytest.param(N, b'{"instances":[1],"more":%b', id="in half a document"),
    ],
)
def test_a_body_of_more_than_256_levels_is_refused(dtype: DataType, body: bytes, levels: int) -> None:
    """As TensorFlow Serving 2.22 does, in every lane; it is not an extra member that nobody looks at."""
    deep = body % (b"[" * levels + b"]" * levels)

    with pytest.raises(InvalidArgument, match=TOO_DEEP):
        rest_predict.plan_predict(served({"default": dtype}), deep)
    with pytest.raises(InvalidArgument, match=TOO_DEEP):
        check_predict_body(deep)


def test_a_list_that_is_cut_out_counts_with_the_levels_around_it() -> None:
    """249 levels with a list of 8 are 257."""
    matrix = b"[" * 8 + b"1,2,3,4,5,6,7" + b"]" * 8
    body = b'{"instances":[1],"more":' + b"[" * 248 + matrix + b"]" * 248 + b"}"

    with pytest.raises(InvalidArgument, match=TOO_DEEP):
        tensors(body, {"default": N})

    assert tensors(body.replace(b"[[", b"[", 1).replace(b"]]", b"]", 1), {"default": N})["default"].tolist() == [1]


def test_case_B53_a_type_without_json_form_is_unimplemented_in_columns() -> None:
    """Only here the inner code reaches the caller."""
    with pytest.raises(ServingError, match=r"^Conversion of JSON Value: 1 to type: half$") as caught:
        rest_predict.plan_predict(served({"a": DataType.HALF}), b'{"inputs":[1]}')

    assert HTTP_STATUS[caught.value.code] == 501


def test_case_B60_an_unknown_signature_is_named() -> None:
    """The text differs from that of gRPC."""
    expected = '^Serving signature name: "nope" not found in signature def$'

    with pytest.raises(InvalidArgument, match=expected):
        rest_predict.plan_predict(half_plus_two(), b'{"signature_name":"nope","instances":[1]}')


def test_a_method_name_is_checked_on_demand() -> None:
    """As over gRPC, but after everything that the body can be refused for."""
    model = with_signature(Signature({"a": spec("a:0")}, {"y": spec("y:0")}, method="odd"))
    checked = planners(AnswerSettings(check_method_name=True))[Method.REST_PREDICT]
    unchecked = planners(AnswerSettings())[Method.REST_PREDICT]

    assert unchecked(model, b'{"inputs":[1]}').fetches == ("y:0",)
    with pytest.raises(Internal, match=r"^Expected prediction signature method_name to be one of {.*}. Was: odd$"):
        checked(model, b'{"inputs":[1]}')
    with pytest.raises(InvalidArgument, match=r"Type: Null is not of expected type: float$"):
        checked(model, b'{"inputs":[null]}')


@pytest.mark.parametrize(
    ("body", "name"),
    [
        (b"{}", "DEFAULT"),
        (b'{"signature_name":"serving_default"}', "serving_default"),
        (b'{"inputs":{}}', "DEFAULT"),
        (b'{"inputs":{"x":1}}', "DEFAULT"),
        (b'{"instances":[{},{}]}', "DEFAULT"),
    ],
)
def test_signatures_without_inputs_cannot_be_called(body: bytes, name: str) -> None:
    """There is nothing that a row or column could be."""
    model = with_signature(Signature({}, {"y": spec("y:0")}))

    with pytest.raises(InvalidArgument, match=f"^Failed to get input map for signature: {name}$"):
        rest_predict.plan_predict(model, body)


@pytest.mark.parametrize("name", [b"5", b"0", b"null", b"[]", b"{}", b"true"])
def test_a_signature_name_must_be_a_string(name: bytes) -> None:
    """Values that count as false are no exception."""
    body = b'{"signature_name":' + name + b',"instances":[1]}'

    for call in (check_predict_body, lambda body: rest_predict.plan_predict(half_plus_two(), body)):
        with pytest.raises(InvalidArgument, match=f"{PRETTY_NAME}$"):
            call(body)


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"signature_name":7}', b""])
def test_the_envelope_is_judged_without_a_model(body: bytes) -> None:
    """Malformed JSON is reported even for unknown models."""
    with pytest.raises(InvalidArgument):
        check_predict_body(body)


@pytest.mark.parametrize("body", [b"{}", b'{"signature_name":"x"}', b'{"instances":[NaN]}', bytearray(b"{} x")])
def test_a_good_envelope_passes(body: bytes) -> None:
    """What the instances are is not known before the model is."""
    check_predict_body(body)


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        pytest.param(b'{"instances":[[1.0,2.0],[3.0,4.0]]}', [[2.5, 3.0], [3.5, 4.0]], id="case_D1"),
        pytest.param(b'{"instances":[1.0,2.0]}', [2.5, 3.0], id="case_D2"),
        pytest.param(b'{"signature_name":"serving_default","instances":[3.0,4.0]}', [3.5, 4.0], id="case_D4"),
        pytest.param(b'{"instances":[2.0,3.0,4.0]}', [3.0, 3.5, 4.0], id="case_D15"),
    ],
)
def test_rows_are_answered_by_predictions(body: bytes, wanted: list) -> None:
    """From the body to the body, with the arithmetic of the model between."""
    plan = rest_predict.plan_predict(half_plus_two(), body)

    assert json.loads(answer(plan, {"y:0": plan.feeds["x:0"] / 2 + 2})) == {"predictions": wanted}


def test_columns_are_answered_by_outputs() -> None:
    """The form of the answer follows the form of the request."""
    plan = rest_predict.plan_predict(half_plus_two(), b'{"inputs":{"x":[[1]]}}')

    assert json.loads(answer(plan, {"y:0": plan.feeds["x:0"]})) == {"outputs": [[1.0]]}


def test_rows_may_order_their_members_freely() -> None:
    """Members are found by name, whatever their order and type."""
    body = b'{"instances":[{"s":"x","f":[1],"b":true},{"b":false,"f":[2.5],"s":{"b64":"eQ=="}}]}'

    found = tensors(body, {"s": S, "f": F, "b": DataType.BOOL})

    assert {name: array.tolist() for name, array in found.items()} == {
        "s": [b"x", b"y"],
        "f": [[1.0], [2.5]],
        "b": [True, False],
    }


def test_tensors_are_fetched_once() -> None:
    """Two outputs that are the same tensor cost one fetch."""
    outputs = {"p": spec("y:0"), "q": spec("z:0"), "r": spec("y:0")}
    plan = rest_predict.plan_predict(with_signature(Signature({"x": spec("x:0")}, outputs)), b'{"instances":[1]}')

    assert plan.fetches == ("y:0", "z:0")
    assert json.loads(plan.encode([floats(1), floats(2)])) == {"predictions": [{"p": 1.0, "q": 2.0, "r": 1.0}]}


def test_defaults_fill_what_binary_rows_cannot_carry() -> None:
    """An input with a default value may be absent."""
    scale = np.array(3.0, np.float32)
    inputs = {"a": spec("a:0", S), "b": spec("b:0")}
    model = with_signature(Signature(inputs, {"y": spec("y:0")}, defaults={"b": scale}))

    feeds = rest_predict.plan_predict(model, b'{"instances":[{"b64":"aGk="}]}').feeds

    assert feeds["a:0"].tolist() == [b"hi"]
    assert feeds["b:0"] is scale


def test_threads_do_not_share_a_parser() -> None:
    """Parsers are used again, but never by two at once."""
    bodies = [json.dumps({"instances": [[n] * 50] * 20}).encode() for n in range(64)]

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda body: tensors(body, {"a": N})["a"], bodies))

    assert all((array == n).all() for n, array in enumerate(found))


@pytest.mark.parametrize("count", [65, 3000])
def test_rows_with_very_many_members_are_read(count: int) -> None:
    """The search for members must not become quadratic."""
    row = {f"f{index}": index for index in range(count)}
    body = json.dumps({"instances": [row, row]}).encode()

    found = tensors(body, dict.fromkeys(row, N))

    assert all(found[name].tolist() == [value, value] for name, value in row.items())


def test_a_promise_of_huge_lists_costs_nothing() -> None:
    """First elements may suggest a shape of which the body holds a tiny part."""
    value = "[" + "1," * 199 + "1]"
    for _ in range(20):
        value = "[" + value + ",[]" * 200 + "]"

    with pytest.raises(InvalidArgument, match="Encountered list at unexpected size"):
        tensors(b'{"inputs":' + value.encode() + b"}", {"a": F})


def test_a_float_beyond_double_is_left_to_the_exact_parser() -> None:
    """The quick way says only that it does not know."""
    assert fast_tensor([{}], F) is None  # type: ignore[list-item]
    assert tensors(b'{"inputs":[1.8e308]}', {"a": DataType.DOUBLE})["a"].tolist() == [np.inf]


RAGGED = replace(spec(""), composite="ragged")


@pytest.mark.parametrize("inputs", [{"x": RAGGED}, {"x": spec("x:0")}])
def test_a_signature_with_a_ragged_tensor_is_refused_by_its_name(inputs) -> None:
    """Before the body is read by a type that such an input does not have."""
    model = with_signature(Signature(inputs, {"y": RAGGED}, is_carried=False))

    with pytest.raises(
        ServingError, match=r"^(Input \"x\"|Output \"y\") of signature \"serving_default\" is a ragged tensor"
    ):
        rest_predict.plan_predict(model, b'{"inputs": {"x": [[1.0]]}}')
