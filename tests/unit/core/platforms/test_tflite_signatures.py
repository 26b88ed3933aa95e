"""Tests of the signatures of TensorFlow Lite files: TensorFlow Serving's, and the file's own."""

from __future__ import annotations

import logging

import pytest

from core.errors import Code, Internal, InvalidArgument, ServingError
from core.inference.dtypes import DataType
from core.inference.signature import PREDICT_METHOD, REGRESS_METHOD
from core.platforms.tflite_signatures import (
    OWN_DEFAULT,
    LiteFile,
    LiteSignatures,
    OwnSignature,
    known_name,
    signatures_of,
    takes_any_rows,
)
from core.protos import serving_pb2, tensor_pb2
from tests.support.lite_models import graph, tensor

X, Y = tensor("x", 1, 2), tensor("y", 1)
PLAIN = graph([X], [Y])
OPEN = graph([tensor("x", 1, 2, declared=(-1, 2))], [tensor("y", 1, declared=(-1,))])


def definition(inputs: dict[str, str], outputs: dict[str, str], method: str = PREDICT_METHOD) -> bytes:
    """Write a SignatureDef of floats of any number of rows."""
    made = tensor_pb2.SignatureDef(method_name=method)
    for infos, names in ((made.inputs, inputs), (made.outputs, outputs)):
        for key, name in names.items():
            infos[key].name = name
            infos[key].dtype = DataType.FLOAT
            infos[key].tensor_shape.dim.add(size=7)
    return made.SerializeToString()


def definitions(found: LiteSignatures) -> dict[str, tensor_pb2.SignatureDef]:
    return dict(serving_pb2.SignatureDefMap.FromString(found.definitions).signature_def)


def names(infos) -> dict[str, str]:
    return {key: info.name for key, info in infos.items()}


def test_signatures_of_the_metadata_are_taken_as_they_are() -> None:
    """Keys, methods and shapes are those that were written, tensors those of the file."""
    file = LiteFile((PLAIN,), metadata={"score": definition({"in": "x"}, {"out": "y"}, REGRESS_METHOD)})

    found = signatures_of(file, any_rows=False)

    assert set(found.signatures) == {"score"}
    assert found.signatures["score"].method == REGRESS_METHOD
    told = definitions(found)["score"]
    assert (names(told.inputs), names(told.outputs)) == ({"in": "x"}, {"out": "y"})
    assert told.inputs["in"].tensor_shape.dim[0].size == 7


def test_a_tensor_of_the_metadata_that_is_missing_is_sought_without_what_follows_the_colon() -> None:
    """Old converters cut the `:0` of TensorFlow's names; a name that exists as it is stays."""
    file = LiteFile(
        (graph([X], [Y, tensor("y:1", 1)]),), metadata={"s": definition({"in": "x:0"}, {"a": "y:0", "b": "y:1"})}
    )

    found = signatures_of(file, any_rows=False)

    assert names(definitions(found)["s"].inputs) == {"in": "x"}
    assert names(definitions(found)["s"].outputs) == {"a": "y", "b": "y:1"}
    assert found.signatures["s"].outputs["b"].tensor == "y:1"


@pytest.mark.parametrize(
    ("inputs", "outputs", "text"),
    [
        ({"k": "z:0"}, {"y": "y"}, "Unknown tensor 'z:0'.\n\tSignature input k references an unknown tensor"),
        ({"k": "x"}, {"o": "x"}, "Unknown tensor 'x'.\n\tSignature output o references an unknown tensor"),
        ({"k": ""}, {"y": "y"}, "Unknown tensor ''.\n\tSignature input k references an unknown tensor"),
    ],
)
def test_metadata_that_names_an_unknown_tensor_is_an_internal_error(inputs, outputs, text) -> None:
    """An output is not an input."""
    file = LiteFile((PLAIN,), metadata={"s": definition(inputs, outputs)})

    with pytest.raises(Internal) as refused:
        signatures_of(file, any_rows=False)

    assert str(refused.value) == text


def test_metadata_that_cannot_be_read_is_refused() -> None:
    """The text is TensorFlow Serving's."""
    with pytest.raises(
        InvalidArgument, match="Invalid SignatureDefs found in TfLite model: Cannot parse signature def"
    ):
        signatures_of(LiteFile((PLAIN,), metadata={"s": b"\x0a\xff\xff\xff"}), any_rows=False)


def test_metadata_hides_the_files_own_signatures() -> None:
    """Whoever wrote it for TensorFlow Serving gets what TensorFlow Serving answers."""
    own = OwnSignature("mine", 0, {"a": 0}, {"b": 10})
    file = LiteFile((PLAIN,), (own,), {"s": definition({"in": "x"}, {"out": "y"})})

    assert set(signatures_of(file, any_rows=False).signatures) == {"s"}


def test_without_metadata_the_keys_are_names_of_tensors_cut_at_the_colon() -> None:
    """The signature is `serving_default`, its shapes in metadata are those of the file without open dimensions."""
    file = LiteFile((graph([tensor("serving_x:0", 1, 2, declared=(-1, 2))], [tensor("a/b:1", 1)]),))

    found = signatures_of(file, any_rows=True)

    told = definitions(found)["serving_default"]
    assert told.method_name == PREDICT_METHOD
    assert (names(told.inputs), names(told.outputs)) == ({"serving_x": "serving_x:0"}, {"a/b": "a/b:1"})
    assert [dim.size for dim in told.inputs["serving_x"].tensor_shape.dim] == [1, 2]
    assert found.signatures["serving_default"].inputs["serving_x"].tensor == "serving_x:0"


def test_of_outputs_whose_keys_are_equal_the_last_one_is_kept_and_the_rest_are_logged(caplog) -> None:
    """So does TensorFlow Serving, without a word; the order is that of the whole names."""
    file = LiteFile((graph([X], [tensor("call:1", 1), tensor("call:0", 1)]),))

    with caplog.at_level(logging.WARNING):
        found = signatures_of(file, any_rows=False)

    assert found.signatures["serving_default"].outputs["call"].tensor == "call:1"
    assert "tensors=call:0" in caplog.text


def test_inputs_whose_keys_would_be_equal_keep_their_whole_names() -> None:
    """Without a key an input could not be fed, and would keep the value of another request."""
    file = LiteFile((graph([tensor("x:0", 1), tensor("x:1", 1), tensor("z:0", 1)], [Y]),))

    assert set(signatures_of(file, any_rows=False).signatures["serving_default"].inputs) == {"x:0", "x:1", "z"}


@pytest.mark.parametrize(
    ("inputs", "outputs", "kind"), [([X, X], [Y], "Input tensor name: x"), ([X], [Y, Y], "Output tensor name: y")]
)
def test_two_tensors_of_one_name_are_refused_as_in_tensorflow_serving(inputs, outputs, kind) -> None:
    """Without signatures of its own nothing of such a file can be told apart."""
    with pytest.raises(ServingError) as refused:
        signatures_of(LiteFile((graph(inputs, outputs),)), any_rows=False)

    assert refused.value.code is Code.ALREADY_EXISTS
    assert str(refused.value) == f"{kind} has multiple indices"


def test_two_tensors_of_one_name_are_served_by_the_files_own_signature() -> None:
    """Its keys tell them apart."""
    own = OwnSignature("serving_default", 0, {"x": 0}, {"a": 10, "b": 10})
    file = LiteFile((graph([X], [Y, Y]),), (own,))

    assert set(signatures_of(file, any_rows=False).signatures["serving_default"].outputs) == {"a", "b"}


def test_the_files_own_default_signature_stands_beside_tensorflow_servings() -> None:
    """Clients of TensorFlow Serving find what they know, others the names that were chosen for the conversion."""
    own = OwnSignature("serving_default", 0, {"image": 0}, {"label": 10})

    found = signatures_of(LiteFile((PLAIN,), (own,)), any_rows=False)

    assert set(found.signatures["serving_default"].inputs) == {"x"}
    assert set(found.signatures[OWN_DEFAULT].inputs) == {"image"}
    assert found.signatures[OWN_DEFAULT].outputs["label"].tensor == "y"
    assert names(definitions(found)[OWN_DEFAULT].outputs) == {"label": "y"}


def test_signatures_of_further_graphs_are_called_by_their_own_names() -> None:
    """Names of tensors may be the same in all graphs."""
    first, second = OwnSignature("encode", 0, {"x": 0}, {"y": 10}), OwnSignature("decode", 1, {"x": 0}, {"y": 10})

    found = signatures_of(LiteFile((PLAIN, PLAIN), (first, second)), any_rows=False)

    assert set(found.signatures) == {"serving_default", "encode", "decode"}
    decode = found.signatures["decode"]
    assert found.signatures["encode"].inputs["x"].tensor == "x" != decode.inputs["x"].tensor
    assert found.calls == {decode.inputs["x"].tensor: ("decode", "x"), decode.outputs["y"].tensor: ("decode", "y")}
    assert names(definitions(found)["decode"].inputs) == {"x": "x"}


@pytest.mark.parametrize(("any_rows", "rows"), [(True, -1), (False, 1)])
def test_the_first_dimension_is_free_only_where_the_model_takes_any_rows(any_rows, rows) -> None:
    """Whatever the file and its metadata say, batching needs the truth."""
    made = {"s": definition({"in": "x"}, {"out": "y"})}
    own = OwnSignature("mine", 0, {"x": 0}, {"y": 10})

    for file in (LiteFile((OPEN,), metadata=made), LiteFile((PLAIN,), metadata=made), LiteFile((OPEN,), (own,))):
        for one in signatures_of(file, any_rows=any_rows).signatures.values():
            assert [spec.shape for spec in one.inputs.values()] == [(rows, 2)]
            assert [spec.shape for spec in one.outputs.values()] == [(rows,)]


@pytest.mark.parametrize(
    ("inputs", "expected"),
    [
        ([tensor("x", 1, declared=(-1,))], True),
        ([tensor("x", 1, declared=(-1,)), tensor("z", 1)], None),
        ([tensor("x", 1)], None),
        ([tensor("x")], False),
        ([tensor("x", 1, declared=(-1,)), tensor("z")], False),
        ([], False),
    ],
)
def test_the_file_says_whether_rows_are_free_unless_its_dimension_is_one_number(inputs, expected) -> None:
    """A number may be no more than the size at the conversion; a scalar has no rows."""
    assert takes_any_rows(graph(inputs, [Y])) is expected


def test_a_name_is_known_as_it_is_or_cut() -> None:
    """Only what follows the first colon may be missing."""
    assert known_name("x:0", {"x:0", "x"}) == "x:0"
    assert known_name("x:0:1", {"x"}) == "x"
    assert known_name("x", {"x:0"}) is None
