"""Tests of REST classify and regress."""

from __future__ import annotations

import json

import numpy as np
import pytest

from core.errors import InvalidArgument
from core.inference.signature import Signature
from core.inference.tensor_proto import bytes_array
from core.protos import tensor_pb2
from core.rest import examples as rest_examples
from tests.support.served_models import EXAMPLES, answer, half_plus_two, spec, with_signature

MODEL = with_signature(Signature({"inputs": EXAMPLES}, {"outputs": spec("y:0")}))
CLASSIFIER = with_signature(Signature({"inputs": EXAMPLES}, {"classes": spec("c:0"), "scores": spec("s:0")}))


def examples(body: str) -> list[dict[str, list]]:
    """Return the features of the examples as the model will parse them."""
    feed = rest_examples.plan_regress(MODEL, body.encode()).feeds["tf_example:0"]
    return [features(tensor_pb2.Example.FromString(raw)) for raw in feed]


def features(example: tensor_pb2.Example) -> dict[str, list]:
    return {name: values(feature) for name, feature in example.features.feature.items()}


def values(feature: tensor_pb2.Feature) -> list:
    kind = feature.WhichOneof("kind")
    return [kind, *getattr(feature, kind).value] if kind else []


def test_case_H1_the_kind_of_a_feature_comes_from_its_spelling() -> None:
    """Strings are bytes, numbers with a point floats, others integers; a value is a list of one."""
    found = examples(
        '{"examples":[{"names":["foo","bar"],"ratings":[8.0,9.0],"age":20},{"names":["baz"],"ratings":6.0}]}'
    )

    assert found == [
        {"names": ["bytes_list", b"foo", b"bar"], "ratings": ["float_list", 8.0, 9.0], "age": ["int64_list", 20]},
        {"names": ["bytes_list", b"baz"], "ratings": ["float_list", 6.0]},
    ]


def test_case_H2_the_context_is_part_of_every_example() -> None:
    """Tokens for infinity, binary values and booleans among integers are understood."""
    (found,) = examples(
        '{"signature_name":"serving_default","context":{"query":"pizza","location":["sfo"]},'
        '"examples":[{"names":["baz",{"b64":"aGVsbG8="}],"ratings":[8.0,9.0,NaN,Infinity],'
        '"intboolmix":[1,true,false],"low":-Infinity}]}'
    )

    assert repr(found.pop("ratings")) == "['float_list', 8.0, 9.0, nan, inf]"
    assert found == {
        "query": ["bytes_list", b"pizza"],
        "location": ["bytes_list", b"sfo"],
        "names": ["bytes_list", b"baz", b"hello"],
        "intboolmix": ["int64_list", 1, 1, 0],
        "low": ["float_list", -np.inf],
    }


def test_an_example_overrides_its_context() -> None:
    """Equal names are settled as protobuf merges maps."""
    assert examples('{"context":{"x":1,"y":2},"examples":[{"x":3},{}]}') == [
        {"x": ["int64_list", 3], "y": ["int64_list", 2]},
        {"x": ["int64_list", 1], "y": ["int64_list", 2]},
    ]


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("[]", []),
        ("1e39", ["float_list", np.inf]),
        ("18446744073709551616", ["float_list", np.float32(2**64)]),
        ("-9223372036854775808", ["int64_list", -(2**63)]),
        ('"\\u0000"', ["bytes_list", b"\0"]),
    ],
)
def test_features_at_the_edge(value: str, found: list) -> None:
    """An empty list makes a feature without kind, numbers beyond 64 bits are floats."""
    assert examples(f'{{"examples":[{{"f":{value}}}]}}') == [{"f": found}]


def test_a_name_does_not_end_at_a_nul() -> None:
    """Two features whose names begin alike keep their own values."""
    assert examples(r'{"examples":[{"f\u0000g":1.5,"f":2}]}') == [{"f\0g": ["float_list", 1.5], "f": ["int64_list", 2]}]


def test_values_of_a_repeated_feature_are_joined() -> None:
    """Nothing that a client sent is dropped silently."""
    assert examples('{"examples":[{"f":1,"f":[2,3]}]}') == [{"f": ["int64_list", 1, 2, 3]}]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        pytest.param('{"context":[{"a":1}]}', "Example must be JSON object but got JSON Array", id="case_H4"),
        pytest.param(
            '{"examples":{"names":["foo"]}}',
            'JSON Value: {\n    "examples": {\n        "names": ["foo"]\n    }\n} '
            "Expecting 'examples' value to be an list/array",
            id="case_H5",
        ),
        pytest.param(
            '{"examples":[{"names":[10,10.0]}]}',
            "Unexpected element type in feature: names expecting type: int64",
            id="case_H8",
        ),
        ('{"examples":[{"f":[{"b64":"a"},5]}]}', "Unable to base64 decode"),
        (
            '{"examples":[{"f":[9223372036854775808,"a"]}]}',
            "Feature: f has uint64_t element. Only int64_t is supported.",
        ),
        pytest.param(
            '{"examples":[{"names":[10,{"test":10}]}]}',
            "Feature: names has element with unexpected JSON type: Object",
            id="case_H9",
        ),
        pytest.param(
            '{"examples":[{"names":[[10],20]}]}',
            "Feature: names has element with unexpected JSON type: Array",
            id="case_H10",
        ),
        pytest.param(
            "{}",
            "JSON Value: {} When method is classify, key 'examples' is expected and was not found",
            id="case_H12",
        ),
        pytest.param(
            '{"examples":[]}',
            "JSON Value: {\n    \"examples\": []\n} 'examples' value is an empty array",
            id="case_H13",
        ),
        pytest.param('{"examples":[null]}', "Example must be JSON object but got JSON Null", id="null example"),
        pytest.param('{"examples":[{"f":null}]}', "Feature: f has element with unexpected JSON type: Null", id="null"),
        pytest.param(
            '{"examples":[{"f":["a",1]}]}', "Unexpected element type in feature: f expecting type: bytes", id="bytes"
        ),
        pytest.param(
            '{"examples":[{"f":[1.0,1]}]}', "Unexpected element type in feature: f expecting type: float", id="float"
        ),
        pytest.param(
            '{"examples":[{"f":9223372036854775808}]}',
            "Feature: f has uint64_t element. Only int64_t is supported.",
            id="uint64",
        ),
        pytest.param('{"examples":[{"f":{"b64":"*"}}]}', "Unable to base64 decode", id="bad base64"),
        pytest.param("[]", "JSON Value: [] Is not object", id="not an object"),
        pytest.param(
            '{"signature_name":1}',
            'JSON Value: {\n    "signature_name": 1\n} not formatted correctly. '
            "'signature_name' key must be a string value.",
            id="signature name",
        ),
    ],
)
def test_bad_bodies_are_reported_before_the_model_is_looked_up(body: str, message: str) -> None:
    """The envelope of these methods is the whole body."""
    for call in (
        rest_examples.check_examples_body,
        lambda raw: rest_examples.plan_regress(MODEL, raw),
        lambda raw: rest_examples.plan_classify(CLASSIFIER, raw),
    ):
        with pytest.raises(InvalidArgument) as caught:
            call(body.encode())
        assert str(caught.value) == message


def test_names_of_features_are_utf8() -> None:
    """A name that protobuf cannot hold is refused, not mangled."""
    with pytest.raises(InvalidArgument, match="not UTF-8"):
        rest_examples.check_examples_body(b'{"examples":[{"\xff":1}]}')


@pytest.mark.parametrize(
    ("x", "score"), [pytest.param(20.0, 12.0, id="case_D13"), pytest.param(10.0, 7.0, id="case_D14")]
)
def test_scores_without_classes_have_empty_labels(x: float, score: float) -> None:
    """Each class is a pair, whatever the model gives."""
    body = json.dumps({"signature_name": "classify_x_to_y", "examples": [{"x": x}]})
    plan = rest_examples.plan_classify(half_plus_two(), body.encode())

    assert json.loads(answer(plan, {"y:0": np.array([[score]], np.float32)})) == {"results": [[["", score]]]}


def test_case_H14_classes_are_pairs_of_label_and_score() -> None:
    """Scores are written with the digits of a float32."""
    plan = rest_examples.plan_classify(CLASSIFIER, b'{"examples":[{},{}]}')
    labels = bytes_array([b"car", b"bike", b"bus"] * 2).reshape(2, 3)
    scores = np.array([[0.2, 0.7, 0.1], [0.7, 0.1, 0.2]], np.float32)

    found = json.loads(answer(plan, {"c:0": labels, "s:0": scores}))

    assert found == {
        "results": [[["car", 0.2], ["bike", 0.7], ["bus", 0.1]], [["car", 0.7], ["bike", 0.1], ["bus", 0.2]]]
    }


def test_classes_without_scores_have_score_zero() -> None:
    """The pair is complete even if the model is not."""
    model = with_signature(Signature({"inputs": EXAMPLES}, {"classes": spec("c:0")}))
    plan = rest_examples.plan_classify(model, b'{"examples":[{}]}')

    assert json.loads(answer(plan, {"c:0": bytes_array([b"a"]).reshape(1, 1)})) == {"results": [[["a", 0.0]]]}


def test_an_example_without_classes_is_an_empty_list() -> None:
    """A classifier may know no class at all."""
    plan = rest_examples.plan_classify(CLASSIFIER, b'{"examples":[{}]}')
    nothing = {"c:0": bytes_array([]).reshape(1, 0), "s:0": np.zeros((1, 0), np.float32)}

    assert json.loads(answer(plan, nothing)) == {"results": [[]]}


def test_case_H16_regressions_use_the_words_for_what_is_not_finite() -> None:
    """The text is the one that old clients expect, byte for byte."""
    plan = rest_examples.plan_regress(MODEL, b'{"examples":[{},{},{},{},{}]}')

    text = answer(plan, {"y:0": np.array([0.2, np.inf, 1, -np.inf, np.nan], np.float32)})

    assert text == b'{\n    "results": [0.2, Infinity, 1.0, -Infinity, NaN\n    ]\n}'


@pytest.mark.parametrize(
    ("write", "kind"),
    [(rest_examples.write_classes, "ClassificationResults"), (rest_examples.write_values, "RegressionResults")],
)
def test_empty_results_are_refused(write, kind: str) -> None:
    """There is no JSON for nothing."""
    with pytest.raises(InvalidArgument, match=f"^Cannot convert empty {kind} to JSON$"):
        write([])


def test_a_context_that_would_become_huge_is_refused() -> None:
    """A body of a megabyte must not take gigabytes."""
    with pytest.raises(InvalidArgument, match="is too large for 300 examples"):
        examples(json.dumps({"context": {"x": "x" * 2**20}, "examples": [{}] * 300}))


@pytest.mark.parametrize("levels", [256, 500_000])
@pytest.mark.parametrize(
    "body",
    ['{"examples":[{"x":1}],"more":%s}', '{"examples":[{"x":%s}]}', '{"context":{"x":%s},"examples":[{"x":1}]}'],
)
def test_a_body_of_more_than_256_levels_is_refused(body: str, levels: int) -> None:
    """As TensorFlow Serving 2.22 does, wherever it is so deep."""
    deep = (body % ("[" * levels + "]" * levels)).encode()

    for read in (rest_examples.read_examples_body, rest_examples.check_examples_body):
        with pytest.raises(InvalidArgument, match=r"^the request JSON is nested deeper than 256 levels$"):
            read(deep)


def test_what_is_ignored_may_be_nested_in_256_levels() -> None:
    """The object is one of them."""
    deep = "[" * 255 + "]" * 255

    assert len(rest_examples.read_examples_body(f'{{"examples":[{{"x":1}}],"more":{deep}}}'.encode()).examples) == 1
