"""Metadata of models and of the server: as JSON and as a message, with what the protocol has no form for."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from core.config.extensions import ONNX, PYTHON, TENSORFLOW, TFLITE
from core.errors import InvalidArgument
from core.inference.dtypes import DataType
from core.inference.signature import Signature
from core.oip.metadata import MetadataQuery, json_text, metadata_json, metadata_message, server_metadata
from core.protos import oip_pb2
from tests.support.served_models import half_plus_two, spec, with_signature


def described(model, signature: str = "serving_default", *versions: str) -> dict:
    return json.loads(metadata_json(model, MetadataQuery(versions or ("123",), signature).to_bytes()))


def told(model, signature: str = "serving_default", *versions: str) -> oip_pb2.ModelMetadataResponse:
    raw = metadata_message(model, MetadataQuery(versions or ("123",), signature).to_bytes())
    return oip_pb2.ModelMetadataResponse.FromString(raw)


def test_the_default_signature_is_described() -> None:
    """With the names of its tensors, and the versions that the router gave."""
    assert described(half_plus_two(), "serving_default", "7", "123") == {
        "name": "h2",
        "versions": ["7", "123"],
        "platform": "tensorflow_savedmodel",
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 1]}],
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 1]}],
    }


def test_the_message_says_the_same() -> None:
    """But for field 6, which two servers use for different things."""
    message = told(half_plus_two(), "serving_default", "7", "123")

    assert (message.name, list(message.versions), message.platform) == ("h2", ["7", "123"], "tensorflow_savedmodel")
    assert [(one.name, one.datatype, list(one.shape)) for one in message.inputs] == [("x", "FP32", [-1, 1])]
    assert [(one.name, one.datatype, list(one.shape)) for one in message.outputs] == [("y", "FP32", [-1, 1])]
    assert {field.number for field, _ in message.ListFields()} <= {1, 2, 3, 4, 5}


@pytest.mark.parametrize("ask", [described, told])
def test_another_signature_can_be_asked_for(ask) -> None:
    """One that is not there is refused by name."""
    answer = ask(half_plus_two(), "classify_x_to_y")
    names = [one["name"] for one in answer["outputs"]] if isinstance(answer, dict) else [answer.outputs[0].name]

    assert names == ["scores"]
    with pytest.raises(InvalidArgument, match="model 'h2' has no signature 'none'"):
        ask(half_plus_two(), "none")


def test_tensors_are_sorted_by_name() -> None:
    """Maps of signatures have no order."""
    many = {name: spec(f"{name}:0") for name in ("b", "c", "a")}
    answer = described(with_signature(Signature(many, dict(reversed(many.items())))))

    assert [one["name"] for one in answer["inputs"]] == ["a", "b", "c"] == [one["name"] for one in answer["outputs"]]


def test_an_unknown_rank_looks_like_a_vector_and_says_so_in_json() -> None:
    """The protocol has no form for it: [] is a scalar."""
    model = with_signature(Signature({"x": spec("x:0", shape=None)}, {"y": spec("y:0", shape=())}))
    answer = described(model)

    assert answer["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1], "parameters": {"unknown_rank": True}}]
    assert answer["outputs"] == [{"name": "y", "datatype": "FP32", "shape": []}]
    assert list(told(model).inputs[0].shape) == [-1]


def test_a_type_that_the_protocol_lacks_has_tensorflows_name() -> None:
    """Clients take it for a text."""
    model = with_signature(Signature({"x": spec("x:0", DataType.COMPLEX64)}, {"y": spec("y:0", DataType.STRING)}))

    assert [one["datatype"] for one in described(model)["inputs"] + described(model)["outputs"]] == [
        "DT_COMPLEX64",
        "BYTES",
    ]


@pytest.mark.parametrize(
    ("platform", "word"),
    [
        (TENSORFLOW.name, "tensorflow_savedmodel"),
        (ONNX.name, "onnxruntime_onnx"),
        (TFLITE.name, "tflite"),
        (PYTHON.name, "python"),
        ("trees", "trees"),
    ],
)
def test_a_platform_has_tritons_word_or_its_own(platform: str, word: str) -> None:
    """Registered ones have a name that their package chose."""
    model = replace(half_plus_two(), platform=platform)

    assert described(model)["platform"] == word == told(model).platform


@pytest.mark.parametrize("text", ["\udcff", chr(0xD800), "f\u00fc", "\0", '"\\'])
def test_texts_that_are_not_utf_8_do_not_break_the_json(text: str) -> None:
    """They come from clients; what cannot be written becomes a question mark."""
    query = MetadataQuery((text,), text)
    shown = text.encode("utf-8", "replace").decode()

    assert MetadataQuery.from_bytes(query.to_bytes()) == query
    assert json.loads(json_text({text: [text]})) == {shown: [shown]}
    assert described(replace(half_plus_two(), name=text))["name"] == shown


def test_the_server_names_itself_and_its_extensions() -> None:
    """In the words that clients test for."""
    assert server_metadata("1.2", ("binary_tensor_data", "parameters")) == {
        "name": "ray_model_server",
        "version": "1.2",
        "extensions": ["binary_tensor_data", "parameters"],
    }
