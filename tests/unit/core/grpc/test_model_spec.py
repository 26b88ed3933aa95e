"""Tests of reading a model spec without decoding the request."""

from __future__ import annotations

import numpy as np
import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from core.errors import InvalidArgument
from core.grpc.model_spec import ModelSpecRef, answer_spec, peek, peek_task, reference, require_name
from core.inference.protobuf_wire import length_delimited, tag, varint
from core.inference.tensor_proto import to_proto
from core.protos import serving_pb2

IMAGE = serving_pb2.PredictRequest(inputs={"image": to_proto(np.zeros((100, 100), np.float32))}).SerializeToString()
NAMES = st.text("aß☃", max_size=8)


@st.composite
def specs(draw) -> bytes:
    spec = serving_pb2.ModelSpec(name=draw(NAMES), signature_name=draw(NAMES))
    choice = draw(st.sampled_from(["version", "label", "none"]))
    if choice == "version":
        spec.version.value = draw(st.integers(-(2**63), 2**63 - 1))
    if choice == "label":
        spec.version_label = draw(NAMES)
    return length_delimited(tag(1), spec.SerializeToString())


OTHER_FIELDS = st.one_of(
    st.builds(lambda number, value: length_delimited(tag(number), value), st.integers(1, 30), st.binary(max_size=20)),
    st.builds(lambda number, value: tag(number, 0) + varint(value), st.integers(1, 30), st.integers(0, 2**64 - 1)),
    st.builds(lambda number, value: tag(number, 1) + value, st.integers(1, 30), st.binary(min_size=8, max_size=8)),
    st.builds(lambda number, value: tag(number, 5) + value, st.integers(1, 30), st.binary(min_size=4, max_size=4)),
    st.builds(lambda number: tag(number, 3) + tag(number, 4), st.integers(1, 30)),
    st.just(length_delimited(tag(200), b"x")),
    st.just(IMAGE),
    st.binary(max_size=6),
)


def by_runtime(raw: bytes) -> ModelSpecRef | None:
    try:
        envelope = serving_pb2.RequestEnvelope.FromString(raw)
    except DecodeError:
        return None
    return reference(envelope.model_spec) if envelope.HasField("model_spec") else None


def by_peek(raw: bytes) -> ModelSpecRef | None:
    try:
        return peek(raw)
    except InvalidArgument:
        return None


@given(st.lists(st.one_of(specs(), OTHER_FIELDS), max_size=6))
def test_peek_agrees_with_protobuf_on_any_bytes(parts) -> None:
    """Fields in any order, repeated, unknown or broken: the runtime's reading is the truth."""
    raw = b"".join(parts)

    assert by_peek(raw) == by_runtime(raw)


@given(st.lists(specs(), min_size=1, max_size=3), st.integers(0, 80), st.integers(0, 100))
def test_peek_agrees_with_protobuf_on_large_requests(parts, repeated, cut) -> None:
    """The walk by hand merges repeated specs, gives up on crowds and never trusts a cut request."""
    raw = IMAGE + b"".join(parts) + length_delimited(tag(3), b"y") * repeated
    raw = raw[: len(raw) - cut]

    assert by_peek(raw) == by_runtime(raw)


@given(st.lists(st.one_of(specs(), OTHER_FIELDS), max_size=3))
def test_peek_agrees_with_protobuf_on_odd_large_requests(parts) -> None:
    """Whatever stands behind an image is read as protobuf reads it."""
    raw = IMAGE + b"".join(parts)

    assert by_peek(raw) == by_runtime(raw)


@pytest.mark.parametrize("filling", [b"", IMAGE], ids=["small", "large"])
@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (serving_pb2.ModelSpec(name="m"), ModelSpecRef("m")),
        (serving_pb2.ModelSpec(name="m", version={"value": 0}), ModelSpecRef("m", 0)),
        (serving_pb2.ModelSpec(name="m", version={"value": 7}, signature_name="s"), ModelSpecRef("m", 7, None, "s")),
        (serving_pb2.ModelSpec(name="m", version_label=""), ModelSpecRef("m", None, "")),
        (serving_pb2.ModelSpec(name="m", version_label="stable"), ModelSpecRef("m", None, "stable")),
    ],
)
def test_a_spec_behind_the_inputs_is_found(filling, spec, expected) -> None:
    """Version 0 and an empty label are told from their absence."""
    assert peek(filling + length_delimited(tag(1), spec.SerializeToString())) == expected


def test_a_spec_behind_a_crowd_of_fields_is_found() -> None:
    """The walk gives up, the runtime does not."""
    crowd = length_delimited(tag(3), b"y") * 100

    assert peek(IMAGE + crowd + length_delimited(tag(1), b"\x0a\x01m")) == ModelSpecRef("m")


def test_the_later_of_version_and_label_survives() -> None:
    """They share a place on the wire."""
    version = serving_pb2.ModelSpec(name="m", version={"value": 7}).SerializeToString()
    label = serving_pb2.ModelSpec(version_label="stable").SerializeToString()

    assert peek(length_delimited(tag(1), version + label)) == ModelSpecRef("m", None, "stable")
    assert peek(length_delimited(tag(1), label + version)) == ModelSpecRef("m", 7, None)


@pytest.mark.parametrize("raw", [b"", length_delimited(tag(2), b""), IMAGE], ids=["empty", "small", "large"])
def test_case_E5_a_request_without_model_spec_is_refused(raw) -> None:
    """The text is TensorFlow Serving's."""
    with pytest.raises(InvalidArgument, match=r"^Missing ModelSpec$"):
        peek(raw)


@pytest.mark.parametrize(
    "raw",
    [b"\xff", b"\x0a\x05m", IMAGE + b"\x0a\x02\x0a\x05", IMAGE + b"\x0a\x02\xff\xff", IMAGE + b"\x0a" + b"\xff" * 9],
)
def test_garbage_is_the_callers_mistake(raw) -> None:
    """A broken request is refused before a model is looked up."""
    with pytest.raises(InvalidArgument):
        peek(raw)


def multi(*names: str, filling: int = 0) -> bytes:
    request = serving_pb2.MultiInferenceRequest()
    for name in names:
        request.tasks.add(model_spec=serving_pb2.ModelSpec(name=name, version_label="l"))
    request.input.example_list.examples.add().features.feature["x"].float_list.value.extend([1.0] * filling)
    return request.SerializeToString()


@pytest.mark.parametrize("filling", [0, 2000], ids=["small", "large"])
def test_the_first_task_names_the_model(filling) -> None:
    """Later tasks are compared with it elsewhere."""
    assert peek_task(multi("a", "b", filling=filling)) == ModelSpecRef("a", None, "l")


@pytest.mark.parametrize("filling", [0, 2000], ids=["small", "large"])
@pytest.mark.parametrize("names", [(), ("",), ("", "b")])
def test_case_I9_without_a_task_there_is_no_name(filling, names) -> None:
    """No task and a nameless first task read the same."""
    with pytest.raises(InvalidArgument, match=r"^ModelSpec has no name specified\.$"):
        peek_task(multi(*names, filling=filling))


@given(st.binary(max_size=40))
def test_any_bytes_are_a_task_or_a_refusal(raw) -> None:
    """Arbitrary bytes never escape as another exception."""
    for body in (raw, IMAGE + raw):
        try:
            peek_task(body)
        except InvalidArgument:
            continue


def test_a_name_is_enough() -> None:
    """Only the absence of a name is refused."""
    require_name("m")


def test_an_answer_names_the_version_that_was_used() -> None:
    """Version 0 is written too, and a label never is."""
    spec = serving_pb2.ModelSpec.FromString(answer_spec("m", 0, "s"))

    assert reference(spec) == ModelSpecRef("m", 0, None, "s")
