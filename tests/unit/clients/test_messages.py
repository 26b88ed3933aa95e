"""The client's messages, beside those that protobuf's own runtime writes and reads."""

from __future__ import annotations

import contextlib

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from core.errors import Code as ServerCode
from core.inference.dtypes import NUMPY_DTYPE, DataType
from core.inference.tensor_proto import to_array, to_proto
from core.protos import oip_pb2, serving_pb2, tensor_pb2
from core.versions.lifecycle import State as ServerState
from core.versions.lifecycle import VersionStatus as ServerStatus
from core.versions.status_message import status_response
from ray_model_client import Client, Code, ServerError, State, VersionStatus, calls, infer_calls
from ray_model_client.dtypes import OTHER_NAMES, type_name
from ray_model_client.tensors import array_of, tensor
from ray_model_client.wire import fields, joined, varint, varints

NUMBERS = [
    dtype for kind, dtype in NUMPY_DTYPE.items() if kind is not DataType.STRING and not kind.label.startswith("q")
]
SHAPES = arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)


def any_array() -> st.SearchStrategy[np.ndarray]:
    """Arrays of every type, made of their bits: NaNs of every kind, and types that numpy does not know, among them."""

    def of(dtype: np.dtype) -> st.SearchStrategy[np.ndarray]:
        bits = np.dtype(f"u{dtype.itemsize}") if dtype.itemsize <= 8 else np.dtype("u8")
        pairs = dtype.itemsize // bits.itemsize
        raw = arrays.arrays(bits, SHAPES.map(lambda shape: (*shape, pairs)))
        truths = raw.map(lambda one: one % 2) if dtype == np.bool_ else raw
        return truths.map(lambda one: one.view(dtype)[..., 0])

    return st.sampled_from(NUMBERS).flatmap(of)


def bits(array: np.ndarray) -> tuple[np.dtype, tuple[int, ...], bytes]:
    return array.dtype, array.shape, array.tobytes()


@given(any_array())
def test_an_array_is_read_as_protobuf_reads_it(array) -> None:
    """Of every type and shape, bit for bit."""
    sent = tensor_pb2.TensorProto.FromString(joined(tensor(array, "x")))

    assert bits(to_array(sent)) == bits(array)


@given(any_array(), st.booleans())
def test_an_array_is_read_in_both_forms_that_servers_send(array, as_content) -> None:
    """As raw content, and as a list of values."""
    raw = to_proto(array, as_content=as_content).SerializeToString()

    assert bits(array_of(memoryview(raw))) == bits(array)


@given(arrays.arrays(np.dtype(object), SHAPES, elements=st.binary(max_size=300), fill=st.nothing()), st.booleans())
def test_strings_cross_in_both_directions(strings, as_content) -> None:
    """As lists, and as TensorFlow packs them."""
    sent = to_array(tensor_pb2.TensorProto.FromString(joined(tensor(strings, "x"))))
    read = array_of(memoryview(to_proto(strings, as_content=as_content).SerializeToString()))

    assert sent.tolist() == read.tolist() == strings.tolist()
    assert sent.shape == read.shape == strings.shape


def test_the_last_value_of_a_list_counts_for_those_that_lack() -> None:
    """TensorFlow's own short form of equal values; and without a packed list, as old writers do."""
    short = tensor_pb2.TensorProto(dtype=3, int_val=[7, -2])
    short.tensor_shape.dim.add(size=4)
    one_by_one = b"\x08\x03\x12\x04\x12\x02\x08\x02" + b"\x38\x05\x38\x06"

    assert array_of(memoryview(short.SerializeToString())).tolist() == [7, -2, -2, -2]
    assert array_of(memoryview(one_by_one)).tolist() == [5, 6]


@given(st.lists(st.integers(0, 2**64 - 1), max_size=30))
def test_a_packed_list_of_numbers_is_read_whole(numbers) -> None:
    """Of one to ten bytes each."""
    assert varints(b"".join(map(varint, numbers))).tolist() == numbers


@pytest.mark.parametrize(
    ("value", "dtype", "expected"),
    [
        pytest.param([1.0, 2.5], np.float32, [1.0, 2.5], id="Python floats become float32"),
        pytest.param(np.array([1.0]), np.float64, [1.0], id="arrays keep their type"),
        pytest.param(np.array([1, 2], ">i4"), np.int32, [1, 2], id="big endian"),
        pytest.param([1, 2], np.int64, [1, 2], id="integers"),
        pytest.param(["ä", "b"], object, ["ä".encode(), b"b"], id="texts become bytes"),
        pytest.param([b"x"], object, [b"x"], id="bytes"),
        pytest.param(np.array(["a", b"b"], object), object, [b"a", b"b"], id="objects"),
        pytest.param(2.0, np.float32, 2.0, id="scalar"),
        pytest.param([True], np.bool_, [True], id="bool"),
    ],
)
def test_plain_values_become_tensors(value, dtype, expected) -> None:
    """What people write in Python arrives in the type that models take, over either protocol."""
    request = serving_pb2.PredictRequest.FromString(calls.predict("m", {"x": value}).body)
    array = to_array(request.inputs["x"])
    infer = oip_pb2.ModelInferRequest.FromString(infer_calls.infer("m", {"x": value}).body)

    assert (array.dtype, array.tolist()) == (dtype, expected)
    assert list(infer.inputs[0].shape) == list(array.shape)
    assert len(infer.raw_input_contents) == 1


@pytest.mark.parametrize("value", [np.array([[1], [1, 2]], object), np.array(["2026-01-01"], "M8[D]"), {"a": 1}, None])
def test_what_no_server_takes_is_refused_with_its_name(value) -> None:
    """Before anything is sent."""
    with pytest.raises(TypeError, match="'ages'"):
        calls.predict("m", {"ages": value})
    with pytest.raises(TypeError, match="'ages'"):
        infer_calls.infer("m", {"ages": value})


def test_predict_names_version_or_label_signature_and_outputs() -> None:
    """And not both of the first two."""
    by_version = serving_pb2.PredictRequest.FromString(
        calls.predict("m", {}, version=3, signature="s", outputs=["y"]).body
    )
    by_label = serving_pb2.PredictRequest.FromString(calls.predict("m", {}, label="stable").body)

    assert (by_version.model_spec.name, by_version.model_spec.version.value) == ("m", 3)
    assert (by_version.model_spec.signature_name, list(by_version.output_filter)) == ("s", ["y"])
    assert by_label.model_spec.version_label == "stable"
    with pytest.raises(ValueError, match="not both"):
        calls.predict("m", {}, version=1, label="stable")


def test_features_take_the_kind_of_their_values() -> None:
    """Texts, whole numbers and others each have their list."""
    raw = calls.classify("m", [{"a": "t", "b": -3, "c": [1, 2.5], "d": [b"x", "y"]}, {"a": []}]).body

    one, other = serving_pb2.ClassificationRequest.FromString(raw).input.example_list.examples
    feature = one.features.feature
    assert feature["a"].bytes_list.value == [b"t"]
    assert feature["b"].int64_list.value == [-3]
    assert feature["c"].float_list.value == [1.0, 2.5]
    assert feature["d"].bytes_list.value == [b"x", b"y"]
    assert list(other.features.feature) == ["a"]


def test_answers_of_examples_and_states_are_read() -> None:
    """Each becomes plain values; what a newer server says is UNKNOWN."""
    classify = serving_pb2.ClassificationResponse()
    classify.result.classifications.add().classes.add(label="l", score=0.5)
    regress = serving_pb2.RegressionResponse()
    regress.result.regressions.add(value=2.0)
    regress.result.regressions.add()
    ended = status_response((ServerStatus(3, ServerState.END, ServerCode.NOT_FOUND, "gone"),))
    newer = serving_pb2.GetModelStatusResponse()
    newer.model_version_status.add(version=1, state=99).status.error_code = 77

    assert calls.classify("m", []).read(classify.SerializeToString()) == [[("l", 0.5)]]
    assert calls.regress("m", []).read(regress.SerializeToString()) == [2.0, 0.0]
    assert calls.status("m").read(ended) == [VersionStatus(3, State.END, Code.NOT_FOUND, "gone")]
    assert calls.status("m").read(newer.SerializeToString()) == [VersionStatus(1, State.UNKNOWN, Code.UNKNOWN, "")]


def test_version_2_is_read_raw_and_as_values() -> None:
    """Servers choose."""
    answer = oip_pb2.ModelInferResponse(model_name="m", model_version="1", id="i")
    answer.parameters["n"].int64_param = -4
    answer.parameters["s"].string_param = "x"
    answer.outputs.add(name="a", datatype="INT8", shape=[2]).contents.int_contents.extend([-1, 5])
    answer.outputs.add(name="b", datatype="BYTES", shape=[1]).contents.bytes_contents.append(b"t")
    answer.outputs.add(name="c", datatype="FP64", shape=[]).contents.fp64_contents.append(2.5)
    raw = oip_pb2.ModelInferResponse()
    raw.outputs.add(name="d", datatype="BYTES", shape=[2])
    raw.outputs.add(name="e", datatype="BF16", shape=[1])
    raw.raw_output_contents.extend([b"\x01\x00\x00\x00x\x00\x00\x00\x00", b"\xc0\x3f"])
    read = infer_calls.infer("m", {}).read

    listed, packed = read(answer.SerializeToString()), read(raw.SerializeToString())

    assert (listed.model, listed.version, listed.id, listed.parameters) == ("m", "1", "i", {"n": -4, "s": "x"})
    assert {name: one.tolist() for name, one in listed.outputs.items()} == {"a": [-1, 5], "b": [b"t"], "c": 2.5}
    assert packed["d"].tolist() == [b"x", b""]
    assert packed["e"].astype(np.float32).tolist() == [1.5]
    assert packed["e"].dtype == ml_dtypes.bfloat16


def test_parameters_of_a_request_keep_their_types() -> None:
    """A truth is not a number."""
    made = infer_calls.infer("m", {}, version="2", parameters={"a": True, "b": -1, "c": "t", "d": 0.5}, request_id="i")

    request = oip_pb2.ModelInferRequest.FromString(made.body)
    chosen = {name: one.WhichOneof("parameter_choice") for name, one in request.parameters.items()}
    assert chosen == {"a": "bool_param", "b": "int64_param", "c": "string_param", "d": "double_param"}
    assert (request.model_version, request.id) == ("2", "i")


READERS = (
    calls.predict("m", {}).read,
    calls.classify("m", []).read,
    calls.regress("m", []).read,
    calls.status("m").read,
    calls.metadata("m").read,
    infer_calls.infer("m", {}).read,
    infer_calls.is_live().read,
    infer_calls.describe_server().read,
    infer_calls.describe_model("m").read,
)


@given(st.sampled_from(READERS), st.binary(max_size=60))
def test_an_answer_that_is_not_a_message_is_an_error_of_the_client(read, garbage) -> None:
    """And never another exception, whatever a proxy on the way sends."""
    with contextlib.suppress(ServerError):
        read(garbage)


@pytest.mark.parametrize(
    "broken",
    [b"\x0a\x05ab", b"\x0b", b"\x08", b"\xff" * 11, b"\x0d\x01"],
    ids=["a short text", "an old group", "no number", "a long number", "a short float"],
)
def test_a_message_that_ends_early_is_told_apart_from_one_that_is_short(broken) -> None:
    """A short answer must not look like an answer of nothing."""
    with pytest.raises(ServerError, match="cannot be read"):
        list(fields(broken))


def test_types_have_the_names_of_the_server() -> None:
    """Also of references to variables, and of types that no request carries."""
    for kind in DataType:
        assert type_name(kind) == kind.label
        assert type_name(kind + 100 if kind else 0) == kind.label
    assert type_name(77) == "type 77"
    assert set(OTHER_NAMES) <= set(DataType)


def test_metadata_is_read_as_signatures() -> None:
    """A tensor without a fixed number of dimensions has no shape, and one of parts has no name."""
    signatures = serving_pb2.SignatureDefMap()
    signature = signatures.signature_def["serving_default"]
    signature.method_name = "tensorflow/serving/predict"
    signature.inputs["x"].name, signature.inputs["x"].dtype = "x:0", 1
    for size in (-1, 0, 3):
        signature.inputs["x"].tensor_shape.dim.add(size=size)
    signature.outputs["y"].dtype = 9
    signature.outputs["y"].tensor_shape.unknown_rank = True
    response = serving_pb2.GetModelMetadataResponse()
    response.metadata["signature_def"].Pack(signatures)

    read = calls.metadata("m").read(response.SerializeToString())["serving_default"]

    assert (read.inputs["x"].tensor, read.inputs["x"].dtype, read.inputs["x"].shape) == ("x:0", "float", (-1, 0, 3))
    assert (read.outputs["y"].tensor, read.outputs["y"].dtype, read.outputs["y"].shape) == ("", "int64", None)
    assert read.method == "tensorflow/serving/predict"


BYTES = [b"ab\0", b"\0\0", b"", b"\xff\0c\0"]


@pytest.mark.parametrize("value", [BYTES, [BYTES, BYTES], tuple(BYTES), BYTES[0], np.array(BYTES, object)])
def test_bytes_keep_the_zeros_at_their_ends(value) -> None:
    """Images and serialized messages end as they like; numpy's own texts would lose these."""
    sent = serving_pb2.PredictRequest.FromString(calls.predict("m", {"x": value}).body).inputs["x"]
    infer = oip_pb2.ModelInferRequest.FromString(infer_calls.infer("m", {"x": value}).body)
    expected = np.array(value, object)

    assert to_array(sent).tolist() == expected.tolist()
    assert list(infer.inputs[0].shape) == list(expected.shape)
    assert infer.raw_input_contents[0].endswith(expected.ravel()[-1])


def test_text_and_bytes_may_stand_in_one_list() -> None:
    """Text is sent as UTF-8."""
    sent = serving_pb2.PredictRequest.FromString(calls.predict("m", {"x": ["ä\0", b"\xff"]}).body)

    assert to_array(sent.inputs["x"]).tolist() == ["ä\0".encode(), b"\xff"]


@pytest.mark.parametrize(
    ("value", "kind", "reason"),
    [
        ([[1], [1, 2]], ValueError, "'x' cannot be made an array: "),
        ([1, "a"], TypeError, "'x' holds a int, which is neither text nor bytes"),
        ([None], TypeError, "'x' holds a NoneType"),
        (2**70, TypeError, "'x' holds a int"),
        (["\ud800"], ValueError, "'x' holds half of a surrogate pair"),
        (np.ma.masked_array([1.0, 2.0], [True, False]), TypeError, "'x' is a masked array"),
    ],
)
def test_what_cannot_be_sent_is_named(value, kind, reason) -> None:
    """The name of the input says where to look."""
    for make in (calls.predict, infer_calls.infer):
        with pytest.raises(kind, match=reason):
            make("m", {"x": value})


@pytest.mark.parametrize("token", ["", "a\nb", " a", "ü", "a\0"])
def test_a_token_that_no_header_can_carry_is_refused_at_once(token) -> None:
    """And not at the first call, as bad metadata; the error does not show it."""
    with pytest.raises(ValueError, match=r"^The token is not one line of visible ASCII characters\.$"):
        Client("localhost:1", token=token)
