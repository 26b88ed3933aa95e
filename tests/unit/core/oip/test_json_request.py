"""Tests of JSON bodies of inference: what is read, by whichever parser, and what is refused with which words."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from core.errors import InvalidArgument
from core.inference.dtypes import DataType
from core.inference.signature import Signature
from core.oip.json_request import plan_json_infer, read_rest_infer
from tests.support.oip_bodies import LANES, fed, forwarded, identity, parts, raw_tensor, request, returned, tensor
from tests.support.served_models import spec, with_signature

pytestmark = pytest.mark.usefixtures("lists_cut")

FLOAT, INT64 = DataType.FLOAT, DataType.INT64
MODEL = identity()
TWO = with_signature(
    Signature(
        {"a": spec("a:0", FLOAT, (-1,)), "b": spec("b:0", INT64, (-1,))}, {"y": spec("a:0"), "z": spec("b:0", INT64)}
    )
)
NESTED = b'{"inputs":[{"name":"x","shape":[1],"datatype":"FP32","data":%b1%b}]}'


@pytest.fixture(params=LANES)
def lane(request: pytest.FixtureRequest):
    """The parser that reads the JSON."""
    return LANES[request.param]


def refusal(text: bytes, *raw: bytes, model=MODEL) -> str:
    with pytest.raises(InvalidArgument) as caught:
        plan_json_infer(model, forwarded(text, *raw))
    return str(caught.value)


@pytest.mark.parametrize(
    ("data", "shape"),
    [
        pytest.param([1, 2, 3, 4], [2, 2], id="flat"),
        pytest.param([[1, 2], [3, 4]], [2, 2], id="nested"),
        pytest.param([[1, 2], [3, 4]], [4], id="nested deeper than the shape"),
        pytest.param([[[1], [2], [3], [4]]], [2, 2], id="nested in another way"),
        pytest.param([[1, 2, 3, 4]], [2, 1, 2], id="nested less than the shape"),
        pytest.param([1.0, 2.0, 3.0, 4.0], [2.0, 2.0], id="a shape of numbers with a point"),
    ],
)
def test_c_data_are_flat_or_nested_in_any_regular_way(lane, data: object, shape: list[float]) -> None:
    """Row-major order counts; the shape says what the lists only suggest."""
    array = fed(MODEL, lane(request(tensor(data, shape))))

    assert array.shape == tuple(map(int, shape))
    assert array.dtype == np.float32
    assert array.ravel().tolist() == [1, 2, 3, 4]


@pytest.mark.parametrize(
    "data", [[[1, 2], [3]], [1, [2, 3]], [[1, 2], 3], [[1], []], [[1, 2, 3], []], [[[1], [2]], [[3]]]]
)
def test_c_ragged_data_are_refused_although_they_have_as_many_elements(lane, data: object) -> None:
    """Nobody can mean that."""
    count = 1 if data == [[1], []] else 3

    assert refusal(lane(request(tensor(data, [count])))) == (
        "the 'data' of input 'x': lists are nested unevenly; send a flat list, or lists of equal lengths"
    )


def test_c_another_number_of_elements_is_named_beside_that_of_the_shape(lane) -> None:
    """Both numbers tell the client which of the two is wrong."""
    assert refusal(lane(request(tensor([1, 2, 3], [2, 2])))) == (
        "input 'x' has 3 elements in its 'data', and its shape [2,2] has 4"
    )


@pytest.mark.parametrize("shape", [[], [1], [1, 1]])
@pytest.mark.parametrize("data", [7, [7], [[7]]])
def test_n_scalars_come_as_they_are_or_in_lists(lane, shape: list[int], data: object) -> None:
    """A bare value is the data of a tensor with one element."""
    array = fed(MODEL, lane(request(tensor(data, shape))))

    assert array.shape == tuple(shape)
    assert array.item() == 7


def test_n_a_bare_scalar_is_no_vector_of_two(lane) -> None:
    """Nothing is repeated to fill a shape."""
    assert "has 1 elements in its 'data', and its shape [2] has 2" in refusal(lane(request(tensor(7, [2]))))


@pytest.mark.parametrize(("data", "shape"), [([], [0]), ([], [0, 3]), ([[], []], [2, 0]), ([[]], [0])])
def test_n_empty_tensors_have_a_zero_in_their_shape(lane, data: object, shape: list[int]) -> None:
    """Batches may be empty."""
    assert fed(MODEL, lane(request(tensor(data, shape)))).shape == tuple(shape)


def test_data_are_nested_a_hundred_times_and_no_deeper(lane) -> None:
    """Triton's limit; depth must never cost stack."""
    assert fed(MODEL, lane(NESTED % (b"[" * 100, b"]" * 100))).item() == 1
    assert (
        refusal(lane(NESTED % (b"[" * 101, b"]" * 101))) == "the 'data' of input 'x': lists are nested deeper than 100"
    )


@pytest.mark.parametrize("depth", [300, 1025, 300_000])
def test_very_deep_nesting_is_refused_wherever_it_stands(depth: int) -> None:
    """Also where it would be ignored; it costs no stack."""
    deep = b"[" * depth, b"]" * depth
    text = request(tensor([1], [1]))
    places = [
        NESTED % deep,
        NESTED % (b"[2," + deep[0], deep[1] + b"]"),
        b"".join(deep),
        b'{"ignored":%b%b,%b' % (*deep, text[1:]),
        b'{"parameters":{"ignored":%b%b},%b' % (*deep, text[1:]),
    ]

    assert {refusal(place) for place in places} == {"the request JSON is nested deeper than 256 levels"}


def test_what_is_ignored_may_be_nested_in_256_levels() -> None:
    """The object itself is one of them."""
    text = request(tensor([1], [1]))[1:]

    assert fed(MODEL, b'{"ignored":%b%b,%b' % (b"[" * 255, b"]" * 255, text)).item() == 1
    assert "deeper" in refusal(b'{"ignored":%b%b,%b' % (b"[" * 256, b"]" * 256, text))


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        pytest.param([-1], "input 'x' has a negative dimension: [-1]", id="minus one"),
        pytest.param([2**62, 2], "of shape [4611686018427387904,2] is larger than", id="absurd"),
        pytest.param([0, 2**62], "of shape [0,4611686018427387904] is larger than", id="absurd beside a zero"),
        pytest.param([1] * 65, "input 'x' has 65 dimensions; 64 are possible", id="too many"),
        pytest.param([1.5], "input 'x' must have a 'shape', a list of integers", id="a fraction"),
        pytest.param(["1"], "input 'x' must have a 'shape', a list of integers", id="a string"),
        pytest.param([True], "input 'x' must have a 'shape', a list of integers", id="a boolean"),
        pytest.param([[1]], "input 'x' must have a 'shape', a list of integers", id="a list"),
        pytest.param([1e300], "is larger than", id="beyond all integers"),
        pytest.param(1, "input 'x' must have a 'shape', a list of integers", id="not a list"),
        pytest.param(None, "input 'x' must have a 'shape', a list of integers", id="missing"),
    ],
)
def test_a_shape_is_a_list_of_numbers_from_zero(lane, shape: object, words: str) -> None:
    """The text names the input and the shape."""
    assert words in refusal(lane(request(tensor([1], shape))))


INTEGERS = {
    "INT8": DataType.INT8,
    "INT16": DataType.INT16,
    "INT32": DataType.INT32,
    "INT64": DataType.INT64,
    "UINT8": DataType.UINT8,
    "UINT16": DataType.UINT16,
    "UINT32": DataType.UINT32,
    "UINT64": DataType.UINT64,
}


@pytest.mark.parametrize("datatype", INTEGERS)
def test_i_whole_numbers_may_have_a_point(lane, datatype: str) -> None:
    """The client open-inference-openapi writes every integer so."""
    array = fed(identity(INTEGERS[datatype]), lane(request(tensor([1.0, 2, 100.0, 0.0, -0.0], [5], datatype))))

    assert array.tolist() == [1, 2, 100, 0, 0]
    assert str(array.dtype) == datatype.lower()


@pytest.mark.parametrize("datatype", INTEGERS)
def test_integers_fill_the_whole_range_of_their_type_and_no_more(lane, datatype: str) -> None:
    """Nothing wraps and nothing is cut off."""
    limits = np.iinfo(datatype.lower())
    model = identity(INTEGERS[datatype])
    low, high = int(limits.min), int(limits.max)

    assert fed(model, lane(request(tensor([low, high], [2], datatype)))).tolist() == [low, high]
    for beyond in (low - 1, high + 1):
        words = refusal(lane(request(tensor([0, beyond], [2], datatype))), model=model)
        assert words.startswith("the 'data' of input 'x': element 1 is ")
        assert words.endswith(f"which is not a value of {datatype}")


@pytest.mark.parametrize("value", [1.5, -0.5, math.nan, math.inf, 1e30, None, "1", True, {"b64": ""}])
def test_nothing_but_a_whole_number_is_an_integer(lane, value: object) -> None:
    """Neither fractions nor texts of numbers, and no truth."""
    words = refusal(lane(request(tensor([1, value], [2], "INT32"))), model=identity(DataType.INT32))

    assert "the 'data' of input 'x': element 1 is " in words
    assert "which is not a value of INT32" in words


def test_large_whole_numbers_with_a_point_are_read_exactly(lane) -> None:
    """A double holds them, but not their neighbours, which stay integers here."""
    data = [2**53 + 1, 2.0**53, 5.0, 2.0**62]

    assert fed(identity(INT64), lane(request(tensor(data, [4], "INT64")))).tolist() == [2**53 + 1, 2**53, 5, 2**62]


@pytest.mark.parametrize("datatype", ["FP16", "BF16", "FP32", "FP64"])
def test_h_floats_of_every_width_are_numbers(lane, datatype: str) -> None:
    """Their values are unambiguous in JSON, whatever other servers say."""
    kind = {"FP16": DataType.HALF, "BF16": DataType.BFLOAT16, "FP32": FLOAT, "FP64": DataType.DOUBLE}[datatype]
    array = fed(identity(kind), lane(request(tensor([1, 0.5, -2.25, 2**63], [4], datatype))))

    expected = math.inf if datatype == "FP16" else 2.0**63
    assert array.astype(np.float64).tolist() == [1, 0.5, -2.25, expected]


@pytest.mark.parametrize("datatype", ["FP32", "FP64"])
def test_h_words_and_null_are_floats(lane, datatype: str) -> None:
    """Clients of Triton write `NaN` and `Infinity`, others null for what is not a number."""
    model = identity(FLOAT if datatype == "FP32" else DataType.DOUBLE)
    array = fed(model, lane(request(tensor([math.nan, math.inf, -math.inf, None, 1], [5], datatype))))

    assert np.isnan(array).tolist() == [True, False, False, True, False]
    assert array[1:3].tolist() == [math.inf, -math.inf]


def test_h_what_is_too_large_for_a_float_is_infinite(lane) -> None:
    """As over TensorFlow Serving's API."""
    assert fed(MODEL, lane(request(tensor([1e39, -1e39, 1e-60], [3])))).tolist() == [math.inf, -math.inf, 0]


@pytest.mark.parametrize("value", ["1.5", "NaN", True, {}, "x" * 1000])
def test_nothing_but_a_number_is_a_float(lane, value: object) -> None:
    """Texts of numbers are refused, and the error shows them, if not in full length."""
    words = refusal(lane(request(tensor([0.5, value], [2]))))

    assert words.startswith("the 'data' of input 'x': element 1 is ")
    assert words.endswith("which is not a value of FP32")
    assert len(words) < 150


@pytest.mark.parametrize("data", [[True, False], [1, 0], [1.0, 0.0], [True, 0.0], [1, False]])
def test_i_booleans_are_words_or_the_numbers_one_and_zero(lane, data: list[object]) -> None:
    """The client open-inference-openapi writes 1.0 and 0.0."""
    assert fed(identity(DataType.BOOL), lane(request(tensor(data, [2], "BOOL")))).tolist() == [True, False]


@pytest.mark.parametrize("value", [2, -1, 0.5, None, "true", math.nan])
def test_nothing_else_is_a_boolean(lane, value: object) -> None:
    """What is neither true nor false would be a guess."""
    assert "which is not a value of BOOL" in refusal(
        lane(request(tensor([True, value], [2], "BOOL"))), model=identity(DataType.BOOL)
    )


def test_g_texts_are_their_bytes_in_utf_8(lane) -> None:
    """Empty ones and zero bytes, too."""
    texts = ["", "a\0b", "grüße", "🙂", '"\\\n']
    array = fed(identity(DataType.STRING), lane(request(tensor(texts, [5], "BYTES"))))

    assert array.tolist() == [text.encode() for text in texts]
    assert array.dtype == object


@pytest.mark.parametrize(("shape", "data"), [([0], []), ([2, 1], [["a"], ["b"]]), ([1], "a"), ([], "a")])
def test_g_texts_have_shapes(lane, shape: list[int], data: object) -> None:
    """Like numbers."""
    array = fed(identity(DataType.STRING), lane(request(tensor(data, shape, "BYTES"))))

    assert array.shape == tuple(shape)


def test_g_texts_may_be_base64_if_the_content_type_says_so(lane) -> None:
    """As clients of MLServer send bytes that are not text."""
    sent = tensor(["AP8=", ""], [2], "BYTES", parameters={"content_type": "base64"})
    assert fed(identity(DataType.STRING), lane(request(sent))).tolist() == [b"\0\xff", b""]

    sent = tensor(["AP8=", "ä"], [2], "BYTES", parameters={"content_type": "base64"})
    words = refusal(lane(request(sent)), model=identity(DataType.STRING))
    assert words == "the 'data' of input 'x': Unable to base64 decode"


@pytest.mark.parametrize("value", [1, None, True, {"b64": "AA=="}])
def test_nothing_but_a_text_is_bytes(lane, value: object) -> None:
    """Also not TensorFlow Serving's form of base64."""
    assert "which is not a value of BYTES" in refusal(
        lane(request(tensor(["a", value], [2], "BYTES"))), model=identity(DataType.STRING)
    )


def test_g_half_of_a_surrogate_pair_is_no_text(lane) -> None:
    """It has no bytes in UTF-8, wherever it stands; RapidJSON takes the second half for a character."""
    half = rb'"\udc00"'
    data = request(tensor(["a", "?"], [2], "BYTES")).replace(b'"?"', half)

    assert "element 1 is " in refusal(lane(data), model=identity(DataType.STRING))
    assert "'id' must be a string of Unicode" in refusal(lane(request(tensor([1], [1]), id="?").replace(b'"?"', half)))
    named = request(tensor([1], [1], name="?")).replace(b'"?"', half)
    assert "unexpected inference input" in refusal(lane(named))
    asked = request(tensor([1], [1]), outputs=[{"name": "?"}]).replace(b'"?"', half)
    assert "unexpected inference output" in refusal(lane(asked))


def test_datatypes_may_be_in_lower_case(lane) -> None:
    """As KServe accepts them."""
    assert fed(MODEL, lane(request(tensor([1], [1], "fp32")))).dtype == np.float32


def test_an_unknown_datatype_is_refused(lane) -> None:
    """With the name of the input."""
    assert refusal(lane(request(tensor([1], [1], "FLOAT")))) == "invalid datatype 'FLOAT' for input 'x'"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param(
            b"", "failed to parse the request JSON buffer: JSON Parse error: The document is empty", id="empty"
        ),
        pytest.param(b"{", "failed to parse the request JSON buffer", id="unfinished"),
        pytest.param(b"abc", "failed to parse the request JSON buffer", id="not JSON"),
        pytest.param(b"[]", "a request must be a JSON object", id="a list"),
        pytest.param(b"{}", "a request must have 'inputs', a list", id="no inputs"),
        pytest.param(b'{"inputs":null}', "a request must have 'inputs', a list", id="null inputs"),
        pytest.param(b'{"inputs":{}}', "a request must have 'inputs', a list", id="inputs that are an object"),
        pytest.param(b'{"inputs":[1]}', "an input must be a JSON object", id="an input that is not an object"),
        pytest.param(b'{"inputs":[{}]}', "every input and output must have a 'name'", id="an input without name"),
        pytest.param(
            b'{"inputs":[{"name":1}]}', "every input and output must have a 'name'", id="a name that is a number"
        ),
        pytest.param(b'{"inputs":[{"name":"x"}]}', "input 'x' must have a 'datatype', a string", id="no datatype"),
        pytest.param(request(tensor([1], [1]), outputs=1), "a request must have 'outputs', a list", id="outputs"),
        pytest.param(request(tensor([1], [1]), outputs=[1]), "an output must be a JSON object", id="an output"),
        pytest.param(
            request(tensor([1], [1]), outputs=[{}]), "every input and output must have a 'name'", id="output name"
        ),
        pytest.param(
            request(tensor([1], [1]), id=7), "'id' must be a string of Unicode characters", id="an id that is a number"
        ),
        pytest.param(request(tensor([1], [1]), parameters=[]), "'parameters' must be a JSON object", id="parameters"),
        pytest.param(request(tensor([1], [1], parameters=1)), "'parameters' must be a JSON object", id="of an input"),
        pytest.param(request(tensor([1], [1])) + b"x", "must not be followed by other values. at offset", id="a tail"),
        pytest.param(
            request(tensor([1], [1])) * 2, "must not be followed by other values. at offset", id="two requests"
        ),
        pytest.param(
            request(tensor([1], [1])).replace(b'"x"', b'"\xff"'),
            "the request JSON is not UTF-8 at byte",
            id="not UTF-8",
        ),
        pytest.param(
            request(tensor([1], [1])).replace(b'"x"', rb'"\ud800"'),
            "surrogate pair in string is invalid",
            id="a surrogate",
        ),
    ],
)
@pytest.mark.parametrize("way", ["short", "long"])
def test_f_malformed_requests_are_told_what_is_wrong(way: str, text: bytes, words: str) -> None:
    """With the same words, however long the body is."""
    assert words in refusal(LANES[way](text))


@pytest.mark.parametrize(
    "members",
    [
        {"model_name": "another"},
        {"model_version": 3},
        {"outputs": []},
        {"outputs": None},
        {"parameters": None},
        {"parameters": {"priority": 5, "content_type": "np", "custom": "yes", "of mine": 1.5}},
        {"parameters": {"headers": {"a": ["b"]}, "custom": None, "mine": [1]}},
        {"parameters": {"triton_enable_empty_final_response": True}},
        {"id": None},
        {"outputs": [{"name": "y", "parameters": {"binary_data": None, "classification": None}}]},
        {"outputs": [{"name": "y", "parameters": None}]},
        {"surprise": [{"data": [1, [2]]}]},
    ],
)
def test_what_this_server_does_not_know_is_ignored(lane, members: dict[str, object]) -> None:
    """Clients of other servers send members of their own; null is as good as absent."""
    answer, _ = returned(MODEL, lane(request(tensor([1], [1]), **members)))

    assert answer == {
        "model_name": "m",
        "model_version": "1",
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [1], "data": [1.0]}],
    }


@pytest.mark.parametrize("key", ["sequence_id", "sequence_start", "sequence_end"])
def test_sequences_are_refused(lane, key: str) -> None:
    """Answering them like single requests would give wrong results."""
    words = refusal(lane(request(tensor([1], [1]), parameters={key: 1})))

    assert words == f"parameter '{key}': sequences are not supported"


def test_the_parameter_that_names_a_label_over_grpc_is_refused(lane) -> None:
    """The path alone has chosen the version already; ignoring the label would let another one answer."""
    words = refusal(lane(request(tensor([1], [1]), parameters={"version_label": "canary"})))

    assert words == "parameter 'version_label' is one of gRPC; over REST the label is in the path, /labels/L"


def test_reserved_parameters_are_refused(lane) -> None:
    """As Triton does, except for one that changes nothing here."""
    words = refusal(lane(request(tensor([1], [1]), parameters={"triton_x": 1})))

    assert words == "parameter keys starting with 'triton_' are reserved, and 'triton_x' is not known"


@pytest.mark.parametrize("key", ["shared_memory_region", "shared_memory_offset", "shared_memory_byte_size"])
def test_shared_memory_is_refused(lane, key: str) -> None:
    """Of inputs and of outputs; the text names the tensor."""
    one = tensor([1], [1])
    words = refusal(lane(request(one, outputs=[{"name": "y", "parameters": {key: 1}}])))
    assert words.startswith(f"output 'y' has parameter '{key}': shared memory is not supported")

    del one["data"]
    sent = one | {"parameters": {"shared_memory_region": "r", key: 1}}
    assert "shared memory is not supported" in refusal(lane(request(sent)))


def test_classification_is_refused(lane) -> None:
    """Numbers instead of labels would be a surprise."""
    words = refusal(lane(request(tensor([1], [1]), outputs=[{"name": "y", "parameters": {"classification": 2}}])))

    assert words == "output 'y' has parameter 'classification': the classification extension is not supported"


def test_an_input_has_one_source_of_data(lane) -> None:
    """Several would contradict each other, and null counts as none."""
    rule = (
        "input 'x' must set exactly one of 'data', and 'binary_data_size' or 'shared_memory_region' in its 'parameters'"
    )
    none = tensor(None, [1])
    two = tensor([1], [1], parameters={"binary_data_size": 4})

    assert refusal(lane(request(none))) == f"{rule}, and has 0 of them"
    assert refusal(lane(request(two))) == f"{rule}, and has 2 of them"


def test_of_two_members_with_one_name_the_last_counts() -> None:
    """In every parser alike."""
    text = b'{"inputs":[{"name":"q","name":"x","shape":[2],"shape":[1],"datatype":"FP32","data":[1,2],"data":[3]}]}'

    for way in LANES.values():
        assert fed(MODEL, way(text)).tolist() == [3]


def test_many_members_and_inputs_are_left_to_the_exact_parser() -> None:
    """They are rare, and simdjson would search for each from the start."""
    many = request(tensor([1], [1]), **{f"member {index}": index for index in range(100)})
    model = with_signature(
        Signature({f"x{at}": spec(f"x{at}:0", shape=(1,)) for at in range(1500)}, {"y": spec("x0:0")})
    )

    assert fed(MODEL, LANES["long"](many)).tolist() == [1]
    plan = plan_json_infer(model, forwarded(request(*[tensor([at], [1], name=f"x{at}") for at in range(1500)])))
    assert [array.item() for array in plan.feeds.values()] == list(range(1500))


def test_long_numbers_come_without_an_object_for_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """Flat or nested, as integers, as floats and as integers with a point; the results are those of the exact parser."""
    values = np.arange(6000, dtype=np.float64).reshape(2, 1000, 3)
    for datatype, kind in (("FP32", FLOAT), ("INT64", INT64), ("UINT8", DataType.UINT8), ("FP16", DataType.HALF)):
        sent = values % 200 if datatype == "UINT8" else values
        for data in (sent.tolist(), sent.ravel().tolist(), sent.astype(int).tolist()):
            text = request(tensor(data, [2, 1000, 3], datatype))
            exact = fed(identity(kind), LANES["exact"](text))
            with monkeypatch.context() as patch:
                patch.setattr("core.json.flat_array._leaves", None)
                assert fed(identity(kind), text).tobytes() == exact.tobytes()


def floats(*values: float) -> bytes:
    return np.array(values, np.float32).tobytes()


def test_c_raw_and_json_inputs_come_together(lane) -> None:
    """Raw tensors stand behind the JSON in the order of the inputs."""
    numbers = np.array([5, 6], np.int64).tobytes()
    plans = [
        plan_json_infer(
            TWO, forwarded(lane(request(tensor([1.5], [1], name="a"), raw_tensor(16, [2], "INT64", "b"))), numbers)
        ),
        plan_json_infer(
            TWO,
            forwarded(
                lane(request(raw_tensor(16, [2], "INT64", "b"), raw_tensor(4, [1], name="a"))), numbers, floats(1.5)
            ),
        ),
    ]

    for plan in plans:
        assert {name: array.tolist() for name, array in plan.feeds.items()} == {"a:0": [1.5], "b:0": [5, 6]}


def test_c_raw_numbers_stay_where_they_came() -> None:
    """The array is a view of the body's memory."""
    body = forwarded(request(raw_tensor(8, [2])), floats(1, 2))
    (array,) = plan_json_infer(MODEL, body).feeds.values()

    assert np.shares_memory(array, np.frombuffer(body, np.uint8))
    assert not array.flags.writeable


@pytest.mark.parametrize(
    ("size", "shape", "raw", "words"),
    [
        pytest.param(
            4, [1], floats(1, 2), "4 bytes are left over behind the 4 bytes of the binary inputs", id="left over"
        ),
        pytest.param(
            8, [2], floats(1), "has a 'binary_data_size' of 8, but 4 bytes are left in the body", id="too few"
        ),
        pytest.param(8, [3], floats(1, 2), "of shape [3] has 12 bytes, and 8 were sent", id="wrong for the shape"),
        pytest.param(-4, [1], floats(1), "'binary_data_size' must be a number of bytes", id="negative"),
        pytest.param("4", [1], floats(1), "'binary_data_size' must be a number of bytes", id="a text"),
        pytest.param(4.5, [1], floats(1), "'binary_data_size' must be a number of bytes", id="a fraction"),
        pytest.param(True, [1], b"\1", "'binary_data_size' must be a number of bytes", id="a boolean"),
        pytest.param(2**70, [1], floats(1), "but 4 bytes are left in the body", id="absurd"),
    ],
)
def test_f_raw_bytes_fit_their_inputs_exactly(lane, size: object, shape: list[int], raw: bytes, words: str) -> None:
    """Neither more nor less, and the numbers of the error say which."""
    sent = raw_tensor(0, shape) | {"parameters": {"binary_data_size": size}}

    assert words in refusal(lane(request(sent)), raw)


def test_f_raw_bytes_of_nobody_are_refused(lane) -> None:
    """Also behind inputs that are all in JSON."""
    assert "8 bytes are left over behind the 0 bytes" in refusal(lane(request(tensor([1], [1]))), floats(1, 2))


def test_i_a_size_may_have_a_point(lane) -> None:
    """As every number of the client open-inference-openapi."""
    sent = raw_tensor(0, [1]) | {"parameters": {"binary_data_size": 4.0}}

    assert fed(MODEL, lane(request(sent)), floats(2.5)).tolist() == [2.5]


@pytest.mark.parametrize(
    ("by_default", "of_output", "is_raw"),
    [
        (None, None, False),
        (None, True, True),
        (None, False, False),
        (True, None, True),
        (True, False, False),
        (False, None, False),
        (False, True, True),
        (1.0, None, True),
        (None, 1.0, True),
    ],
)
def test_c_outputs_are_raw_where_the_request_says_so(lane, by_default, of_output, is_raw) -> None:
    """An output that says nothing follows the request, as the extension's description has it."""
    members = {"parameters": {"binary_data_output": by_default}, "outputs": [{"name": "y"}]}
    if of_output is not None:
        members["outputs"][0]["parameters"] = {"binary_data": of_output}
    answer, raw = returned(MODEL, lane(request(tensor([1, 2], [2]), **members)))

    assert raw == (floats(1, 2) if is_raw else b"")
    assert answer["outputs"][0].get("data") == (None if is_raw else [1, 2])
    assert answer["outputs"][0].get("parameters") == ({"binary_data_size": 8} if is_raw else None)


@pytest.mark.parametrize("value", ["yes", 2, [True], {}])
def test_forms_of_outputs_are_true_or_false(lane, value: object) -> None:
    """Anything else would be a guess, also where it would be ignored elsewhere."""
    one = tensor([1], [1])
    asked = request(one, outputs=[{"name": "y", "parameters": {"binary_data": value}}])

    assert refusal(lane(asked)) == "parameter 'binary_data' must be true or false"
    if not isinstance(value, (list, dict)):
        asked = request(one, parameters={"binary_data_output": value})
        assert refusal(lane(asked)) == "parameter 'binary_data_output' must be true or false"


def test_an_answer_without_raw_bytes_is_all_json(lane) -> None:
    """Its raw output says that it has none, and no length of the JSON is needed."""
    answer, raw = returned(MODEL, lane(request(tensor([], [0]), parameters={"binary_data_output": True})))

    assert raw == b""
    assert answer["outputs"] == [{"name": "y", "datatype": "FP32", "shape": [0], "parameters": {"binary_data_size": 0}}]


def test_c_a_body_without_json_is_read_for_logs_like_any_other() -> None:
    """Whoever records requests needs no rules of its own."""
    model = identity(FLOAT, (-1, -1))

    (one,) = read_rest_infer(model, forwarded(b"", floats(1, 2))).inputs
    assert (one.name, one.array.tolist()) == ("x", [[1, 2]])
    (one,) = read_rest_infer(model, forwarded(request(tensor([3], [1, 1])))).inputs
    assert one.array.tolist() == [[3]]


def test_c_a_body_without_json_is_answered_raw() -> None:
    """All outputs come raw, as the request has no place to ask."""
    answer, raw = returned(identity(FLOAT, (-1, -1)), b"", floats(1, 2))

    assert raw == floats(1, 2)
    assert answer["outputs"] == [
        {"name": "y", "datatype": "FP32", "shape": [1, 2], "parameters": {"binary_data_size": 8}}
    ]


def test_e_the_id_comes_back_also_when_empty(lane) -> None:
    """And is absent where the request has none."""
    one = tensor([1], [1])

    assert returned(MODEL, lane(request(one, id='grüße "7"')))[0]["id"] == 'grüße "7"'
    assert returned(MODEL, lane(request(one, id="")))[0]["id"] == ""
    assert "id" not in returned(MODEL, lane(request(one)))[0]


def test_d_outputs_come_in_the_order_of_the_request(lane) -> None:
    """And in that of their names where it asks for none."""
    both = tensor([1], [1], name="a"), tensor([2], [1], "INT64", "b")

    def names(**members) -> list[str]:
        plan = plan_json_infer(TWO, forwarded(lane(request(*both, **members))))
        answer, _ = parts(plan.answer([plan.feeds[name] for name in plan.fetches]))
        return [one["name"] for one in answer["outputs"]]

    assert names() == ["y", "z"]
    assert names(outputs=[{"name": "z"}, {"name": "y"}]) == ["z", "y"]
    assert names(outputs=[{"name": "z"}]) == ["z"]


def test_m_a_request_names_its_signature(lane) -> None:
    """And must name one by a text that the model has."""
    one = tensor([1], [1])

    assert plan_json_infer(
        MODEL, forwarded(lane(request(one, parameters={"signature_name": "serving_default"})))
    ).signature
    words = refusal(lane(request(one, parameters={"signature_name": "other"})))
    assert words == "model 'm' has no signature 'other'"
    words = refusal(lane(request(one, parameters={"signature_name": 7})))
    assert words == "parameter 'signature_name' must be a string"


def test_requests_of_json_of_standard_writers_are_equal() -> None:
    """Blanks, escapes and the order of members make no difference."""
    sent = {"inputs": [dict(reversed(tensor([0.1, 2], [2], name="grüße").items()))]}
    model = with_signature(Signature({"grüße": spec("x:0", shape=(2,))}, {"y": spec("x:0")}))

    for text in (json.dumps(sent), json.dumps(sent, ensure_ascii=False), json.dumps(sent, indent=4)):
        for way in ("short", "long"):
            assert fed(model, LANES[way](text.encode())).tolist() == np.array([0.1, 2], np.float32).tolist()
