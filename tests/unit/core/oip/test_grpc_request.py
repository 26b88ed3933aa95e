"""Tests of ModelInferRequest: the model found by the router, and what a model server reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from core.errors import InvalidArgument
from core.inference.protobuf_wire import length_delimited, tag, varint
from core.inference.signature import Signature
from core.oip import grpc_request
from core.oip.grpc_request import BYTES_OF_A_STEP, MOST_PARTS, asked_model, plan_grpc_infer, read_grpc_infer
from core.oip.model_reference import ModelReference
from core.protos import oip_pb2
from tests.support.infer_fuzz import INFER_REQUESTS, PARAMETERS, TEXTS
from tests.support.served_models import half_plus_two, spec, with_signature

X = np.array([[1.0], [2.0]], np.float32)
RAW = X.tobytes()
LARGE = 5 * BYTES_OF_A_STEP
KINDS = [bytes, bytearray, memoryview]


def tensor(name: str = "x", datatype: str = "FP32", shape: Any = (2, 1), **contents: Any) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": shape, **({"contents": contents} if contents else {})}


def request(*inputs: Mapping[str, Any], raw: Any = (), **fields: Any) -> oip_pb2.ModelInferRequest:
    return oip_pb2.ModelInferRequest(inputs=inputs, raw_input_contents=raw, **fields)


def body(*inputs: Mapping[str, Any], raw: Any = (), **fields: Any) -> bytes:
    return request(*inputs, raw=raw, **fields).SerializeToString()


def parameter(**value: Any) -> oip_pb2.InferParameter:
    return oip_pb2.InferParameter(**value)


def padded(raw: bytes, size: int = LARGE) -> bytes:
    """Make a request large by a tensor behind it."""
    return raw + oip_pb2.ModelInferRequest(raw_input_contents=[bytes(size)]).SerializeToString()


# Which model.


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        pytest.param({}, ModelReference(""), id="nothing"),
        pytest.param({"model_name": "m"}, ModelReference("m"), id="name"),
        pytest.param({"model_name": "m", "model_version": "007"}, ModelReference("m", 7), id="version"),
        pytest.param(
            {"model_name": "m", "parameters": {"version_label": parameter(string_param="stable")}},
            ModelReference("m", None, "stable"),
            id="label",
        ),
        pytest.param(
            {"model_name": "m", "parameters": {"version_label": parameter(string_param="")}},
            ModelReference("m", None, ""),
            id="empty label",
        ),
        pytest.param(
            {"model_name": "m", "parameters": {"signature_name": parameter(string_param="s")}},
            ModelReference("m", signature="s"),
            id="signature",
        ),
    ],
)
@pytest.mark.parametrize("size", [0, LARGE], ids=["small", "large"])
def test_the_model_is_found_by_name_and_version_or_label(size, fields, expected) -> None:
    """Large requests, which are walked by hand, are read alike."""
    raw = body(tensor(), **fields)

    assert asked_model(padded(raw, size) if size else raw) == expected


@pytest.mark.parametrize("version", ["one", "-1", "1.0", " 1", "1 ", "9" * 19, "9" * 30, "٣"])
def test_a_version_that_is_not_a_number_is_refused(version) -> None:
    """Over gRPC it is a field of the request, which is then wrong."""
    with pytest.raises(InvalidArgument, match=f"specified version string '{version}'"):
        asked_model(body(model_name="m", model_version=version))


def test_version_and_label_together_are_refused() -> None:
    """Neither can be preferred."""
    raw = body(model_name="m", model_version="1", parameters={"version_label": parameter(string_param="stable")})

    with pytest.raises(InvalidArgument, match="by version '1' and by label 'stable' at once"):
        asked_model(raw)


@pytest.mark.parametrize("name", ["version_label", "signature_name"])
@pytest.mark.parametrize("value", [{"int64_param": 1}, {"bool_param": True}, {"double_param": 1.0}])
def test_a_label_or_signature_that_is_not_a_text_is_refused(name, value) -> None:
    """It would otherwise be taken for the empty one."""
    with pytest.raises(InvalidArgument, match=f"parameter '{name}' must be a string"):
        asked_model(body(model_name="m", parameters={name: parameter(**value)}))


def test_the_last_of_repeated_fields_counts() -> None:
    """As protobuf demands, also where they are far apart."""
    raw = padded(body(model_name="a", model_version="1")) + body(model_name="b")

    assert asked_model(raw) == ModelReference("b", 1)


def test_tensors_are_not_looked_at() -> None:
    """What is inside of an input cannot keep a request from its model server, which judges it."""
    assert asked_model(body(model_name="m") + length_delimited(tag(5), b"\xff")) == ModelReference("m")


@pytest.mark.parametrize("size", [0, LARGE], ids=["small", "large"])
@pytest.mark.parametrize("broken", [b"\x0a", b"\x0a\x02\xff\xfe", b"\x22\x02\x0a\xff", b"\x07", b"\x00"])
def test_a_broken_message_is_refused(size, broken) -> None:
    """Under the name that clients know."""
    with pytest.raises(InvalidArgument, match=r"The request is not a valid ModelInferRequest message\."):
        asked_model((padded(b"", size) if size else b"") + broken)


KNOWN_PARTS = st.builds(
    lambda name, version, parameters: body(model_name=name, model_version=version, parameters=parameters),
    TEXTS,
    st.sampled_from(["", "1", "x"]),
    PARAMETERS,
)
ODD_PARTS = st.one_of(
    st.builds(lambda number, value: length_delimited(tag(number), value), st.integers(5, 30), st.binary(max_size=20)),
    st.builds(lambda number, value: tag(number, 0) + varint(value), st.integers(1, 30), st.integers(0, 2**64 - 1)),
    st.builds(lambda number, value: tag(number, 1) + value, st.integers(1, 30), st.binary(min_size=8, max_size=8)),
    st.builds(lambda number, value: tag(number, 5) + value, st.integers(1, 30), st.binary(min_size=4, max_size=4)),
    st.builds(lambda number: tag(number, 3) + tag(number, 4), st.integers(1, 30)),
    st.just(length_delimited(tag(200), b"x")),
    st.binary(max_size=6),
)
IMAGE = padded(b"")


def by_runtime(raw: bytes) -> oip_pb2.SerializedInferRequest | None:
    try:
        return oip_pb2.SerializedInferRequest.FromString(raw)
    except DecodeError:
        return None


@given(st.lists(st.one_of(KNOWN_PARTS, ODD_PARTS, st.just(IMAGE)), max_size=6), st.integers(0, 100))
def test_a_large_request_is_read_as_the_protobuf_runtime_reads_it(parts, cut) -> None:
    """Fields in any order, repeated, unknown, broken or cut off: the walk by hand never says something else."""
    raw = b"".join(parts)
    raw = raw[: len(raw) - cut] if cut > 90 else raw
    truth = by_runtime(raw)
    try:
        found = asked_model(raw)
    except InvalidArgument:
        assert truth is None or truth.model_version == "x" or truth.parameters
    else:
        assert truth is not None
        assert (found.name, found.version) == (truth.model_name, int(truth.model_version or 0) or None)


# Raw contents.


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [2, LARGE], ids=["small", "large"])
def test_raw_contents_become_arrays(kind, size) -> None:
    """Whichever memory the request is in."""
    sent = np.arange(size, dtype=np.float32)

    (one,) = read_grpc_infer(kind(body(tensor(shape=[size]), raw=[sent.tobytes()]))).inputs

    assert (one.name, one.array.dtype, one.array.shape) == ("x", np.float32, (size,))
    np.testing.assert_array_equal(one.array, sent)
    assert not one.array.flags.writeable


@pytest.mark.parametrize("kind", [bytes, bytearray])
def test_raw_contents_of_a_large_request_are_not_copied(kind) -> None:
    """The arrays look into the message, wherever its tensors are in it."""
    raw = kind(body(tensor(shape=[LARGE]), tensor("z", "UINT8", [LARGE]), raw=[bytes(4 * LARGE), bytes(LARGE)]))

    first, second = read_grpc_infer(raw).inputs

    message = np.frombuffer(raw, np.uint8)
    assert np.shares_memory(first.array, message)
    assert np.shares_memory(second.array, message)


def test_a_large_request_is_read_as_a_small_one_wherever_its_fields_are() -> None:
    """Raw contents may come before the inputs that they belong to, and fields that nobody knows between them."""
    first, second = bytes(4 * LARGE), np.arange(LARGE, dtype=np.uint8).tobytes()
    raw = (
        body(raw=[first], id="a")
        + length_delimited(tag(15), b"unknown")
        + body(tensor(shape=[LARGE]))
        + tag(14, 0)
        + varint(3)
        + body(tensor("z", "UINT8", [LARGE]), raw=[second], id="b", outputs=[{"name": "y"}])
    )

    read = read_grpc_infer(raw)

    assert [one.array.tobytes() for one in read.inputs] == [first, second]
    assert (read.id, [one.name for one in read.outputs]) == ("b", ["y"])


TENSORS = st.sampled_from([tensor(), tensor("y"), tensor(shape=[LARGE]), tensor(shape=[0]), tensor("s", "BYTES", [1])])
CONTENTS = st.sampled_from([RAW, b"", bytes(4 * LARGE), b"\1\0\0\0a"])
REQUEST_PARTS = st.one_of(
    KNOWN_PARTS,
    ODD_PARTS,
    st.builds(body, TENSORS, raw=st.lists(CONTENTS, max_size=1)),
    st.builds(lambda content: body(raw=[content]), CONTENTS),
    st.builds(lambda name: body(outputs=[{"name": name}]), TEXTS),
)


def told(raw: bytes) -> Any:
    """Return what is read of a request, or why it is refused."""
    try:
        read = read_grpc_infer(raw)
    except InvalidArgument as error:
        return str(error)
    inputs = [(one.name, one.array.dtype, one.array.shape, one.array.tolist()) for one in read.inputs]
    return inputs, read.outputs, read.id, read.parameters


@given(st.lists(REQUEST_PARTS, max_size=6), st.integers(0, 100))
def test_a_large_request_is_read_as_if_it_were_parsed_as_a_whole(parts, cut) -> None:
    """Whatever its fields are, and in whichever order."""
    raw = b"".join(parts)
    raw = raw[: len(raw) - cut] if cut > 90 else raw
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(grpc_request, "_WALK_FROM_BYTES", len(raw) + 1)
        truth = told(raw)

    assert told(raw) == truth


@pytest.mark.parametrize("raw", [[RAW, RAW], [RAW] * 3])
def test_another_number_of_raw_contents_than_inputs_is_refused(raw) -> None:
    """Both numbers are told."""
    with pytest.raises(InvalidArgument, match=f"expected 1 entries in raw_input_contents.* got {len(raw)}"):
        read_grpc_infer(body(tensor(), raw=raw))


def test_too_few_raw_contents_are_refused() -> None:
    """Inputs without one are not taken from their typed contents."""
    inputs = tensor(), tensor("z", fp32_contents=[1.0, 2.0])

    with pytest.raises(InvalidArgument, match=r"expected 2 entries in raw_input_contents.* got 1"):
        read_grpc_infer(body(*inputs, raw=[RAW]))


def test_contents_beside_raw_contents_are_refused() -> None:
    """Neither can be preferred."""
    with pytest.raises(InvalidArgument, match="input 'x' has contents, and raw_input_contents are given too"):
        read_grpc_infer(body(tensor(fp32_contents=[1.0, 2.0]), raw=[RAW]))


def test_empty_contents_beside_raw_contents_are_accepted() -> None:
    """A server's own answers have them, which are sent on as requests."""
    sent = request(tensor(), raw=[RAW])
    sent.inputs[0].contents.SetInParent()

    (one,) = read_grpc_infer(sent.SerializeToString()).inputs

    np.testing.assert_array_equal(one.array, X)


@pytest.mark.parametrize("raw", [RAW[:-1], RAW + b"\0", b""])
def test_raw_contents_of_another_size_than_the_shape_are_refused(raw) -> None:
    """Both sizes are told."""
    with pytest.raises(InvalidArgument, match=f"input 'x' of shape .2,1. has 8 bytes, and {len(raw)} were sent"):
        read_grpc_infer(body(tensor(), raw=[raw]))


def test_an_unknown_datatype_is_refused() -> None:
    """With the name of the input."""
    with pytest.raises(InvalidArgument, match="invalid datatype 'FP8' for input 'x'"):
        read_grpc_infer(body(tensor(datatype="FP8"), raw=[RAW]))


@pytest.mark.parametrize(("contents", "raw"), [({}, [RAW]), ({"fp32_contents": [1.0, 2.0]}, [])], ids=["raw", "typed"])
@pytest.mark.parametrize("shape", [[-1], [-2, -4], [2, -1], [0, -1]])
def test_a_negative_dimension_is_refused(contents, raw, shape) -> None:
    """It is not inferred from the number of elements."""
    with pytest.raises(InvalidArgument, match="input 'x' has a negative dimension"):
        read_grpc_infer(body(tensor(shape=shape, **contents), raw=raw))


@pytest.mark.parametrize("shape", [[2**62], [2**62, 2**62], [0, 2**62], [1] * 65])
def test_an_absurd_shape_is_refused(shape) -> None:
    """Before anything is allocated."""
    with pytest.raises(InvalidArgument, match="input 'x'"):
        read_grpc_infer(body(tensor(shape=shape), raw=[b""]))


def test_parameters_of_inputs_and_outputs_that_mean_nothing_here_are_ignored() -> None:
    """KServe's client sends `binary_data_size` also over gRPC."""
    size = {"binary_data_size": parameter(int64_param=1)}
    sent = {**tensor(), "parameters": size}

    read = read_grpc_infer(body(sent, raw=[RAW], outputs=[{"name": "y", "parameters": size}]))

    np.testing.assert_array_equal(read.inputs[0].array, X)


@pytest.mark.parametrize(
    ("place", "name", "told"),
    [
        ("inputs", "shared_memory_region", "input 'x' has parameter 'shared_memory_region': shared memory is not"),
        ("outputs", "shared_memory_region", "output 'y' has parameter 'shared_memory_region': shared memory is not"),
        ("outputs", "classification", "output 'y' has parameter 'classification': the classification extension is not"),
    ],
)
def test_parameters_of_tensors_that_change_what_is_asked_are_refused(place, name, told) -> None:
    """By name, although an input in shared memory has no contents either."""
    sent = request(tensor(), outputs=[{"name": "y"}], raw=[] if place == "inputs" else [RAW])
    getattr(sent, place)[0].parameters[name].int64_param = 1

    with pytest.raises(InvalidArgument, match=told):
        read_grpc_infer(sent.SerializeToString())


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("sequence_id", "parameter 'sequence_id': sequences are not supported"),
        ("sequence_start", "parameter 'sequence_start': sequences are not supported"),
        ("triton_x", "parameter keys starting with 'triton_' are reserved"),
    ],
)
def test_parameters_that_change_what_is_asked_are_refused(name, told) -> None:
    """As over REST."""
    sent = {name: parameter(int64_param=1)}

    with pytest.raises(InvalidArgument, match=told):
        plan_grpc_infer(half_plus_two(), body(tensor(), raw=[RAW], parameters=sent))


def test_a_request_may_give_itself_a_deadline() -> None:
    """In microseconds; its priority means nothing here."""
    sent = {"timeout": parameter(int64_param=1500), "priority": parameter(uint64_param=1)}

    assert plan_grpc_infer(half_plus_two(), body(tensor(), raw=[RAW], parameters=sent)).timeout_s == 0.0015


def test_parameters_keep_their_types() -> None:
    """All five kinds; one without a value is an empty text."""
    sent = {
        "a": parameter(bool_param=True),
        "b": parameter(int64_param=-1),
        "c": parameter(string_param="s"),
        "d": parameter(double_param=0.5),
        "e": parameter(uint64_param=2**64 - 1),
        "f": parameter(),
    }

    assert read_grpc_infer(body(parameters=sent)).parameters == {
        "a": True,
        "b": -1,
        "c": "s",
        "d": 0.5,
        "e": 2**64 - 1,
        "f": "",
    }


@pytest.mark.parametrize("what", ["inputs", "outputs", "parameters"])
def test_a_message_of_nothing_but_parts_is_refused(what) -> None:
    """Each of two bytes would take forty times as much memory, and time."""
    number = {"parameters": 4, "inputs": 5, "outputs": 6}[what]
    raw = length_delimited(tag(number), b"") * (2 * LARGE)

    with pytest.raises(InvalidArgument, match=f"a request may have {MOST_PARTS} {what}, and {2 * LARGE} were sent"):
        read_grpc_infer(raw)


def test_a_message_of_nothing_but_parameters_does_not_reach_a_model_server() -> None:
    """The router has to read them."""
    with pytest.raises(InvalidArgument, match=f"a request may have {MOST_PARTS} parameters"):
        asked_model(length_delimited(tag(4), b"") * (2 * LARGE))


# The plan.


def test_a_request_becomes_a_plan() -> None:
    """Tensors of the graph are fed, and those behind the outputs are fetched."""
    plan = plan_grpc_infer(half_plus_two(), body(tensor(), raw=[RAW]))

    assert plan.fetches == ("y:0",)
    np.testing.assert_array_equal(plan.feeds["x:0"], X)


def test_an_unknown_requested_output_is_refused() -> None:
    """With the names that there are."""
    with pytest.raises(InvalidArgument, match="unexpected inference output 'no'; outputs: y"):
        plan_grpc_infer(half_plus_two(), body(tensor(), raw=[RAW], outputs=[{"name": "no"}]))


@pytest.mark.parametrize("raw", [[RAW], []], ids=["raw", "typed"])
def test_m_an_input_with_a_default_may_be_left_out(raw) -> None:
    """The signature says what it then is; over this protocol, too, no other input may be missing."""
    scale = np.array(3.0, np.float32)
    inputs = {"x": spec("x:0"), "scale": spec("scale:0", shape=())}
    model = with_signature(Signature(inputs, {"y": spec("y:0")}, defaults={"scale": scale}))
    x = tensor() if raw else tensor(fp32_contents=[1.0, 2.0])

    plan = plan_grpc_infer(model, body(x, raw=raw))

    assert plan.feeds["scale:0"] is scale
    with pytest.raises(InvalidArgument, match=r"expected 2 inputs but got 1 inputs .* input 'x' is missing"):
        plan_grpc_infer(model, body(tensor("scale", shape=[], fp32_contents=[1.0])))


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(raw) -> None:
    """Nothing but InvalidArgument comes out."""
    for read in (asked_model, read_grpc_infer):
        try:
            read(raw)
        except InvalidArgument:
            continue


@given(INFER_REQUESTS)
def test_any_request_is_planned_or_refused(request_) -> None:
    """Of every structure; nothing but InvalidArgument comes out."""
    try:
        plan = plan_grpc_infer(half_plus_two(), request_.SerializeToString())
    except InvalidArgument:
        return
    assert plan.feeds["x:0"].dtype == np.float32
