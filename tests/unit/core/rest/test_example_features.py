"""JSON objects to tf.Examples: the kind of a feature follows from its JSON alone."""

from __future__ import annotations

import re
from typing import Any

import pytest

from core.errors import InvalidArgument
from core.json.exact_parser import parse_exactly
from core.protos import tensor_pb2
from core.rest.example_features import example_bytes


def features(text: bytes) -> dict[str, tuple[str | None, list[Any]]]:
    """Show kind and values of each feature."""
    found = tensor_pb2.Example.FromString(example_bytes(parse_exactly(text))).features.feature
    kinds = {name: feature.WhichOneof("kind") for name, feature in found.items()}
    return {name: (kind, list(getattr(found[name], kind).value) if kind else []) for name, kind in kinds.items()}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b'{"a": 20}', {"a": ("int64_list", [20])}),
        (b'{"a": 20.0}', {"a": ("float_list", [20.0])}),
        (b'{"a": true}', {"a": ("int64_list", [1])}),
        (b'{"a": "x"}', {"a": ("bytes_list", [b"x"])}),
        (b'{"a": {"b64": "aGk="}}', {"a": ("bytes_list", [b"hi"])}),
        (b'{"a": [1, 2], "a": 3}', {"a": ("int64_list", [1, 2, 3])}),
        (b'{"a": []}', {"a": (None, [])}),
        (b'{"a": [1e300, -1e300]}', {"a": ("float_list", [float("inf"), float("-inf")])}),
        (b"{}", {}),
    ],
    ids=["int", "float", "bool", "text", "binary", "repeated", "empty", "too large", "nothing"],
)
def test_a_value_decides_the_kind_of_its_feature(text, expected) -> None:
    """Whatever the model expects."""
    assert features(text) == expected


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (b"[1]", "Example must be JSON object but got JSON Array"),
        (b'{"a": [1, 2.0]}', "Unexpected element type in feature: a expecting type: int64"),
        (b'{"a": null}', "Feature: a has element with unexpected JSON type: Null"),
        (b'{"a": [[1]]}', "Feature: a has element with unexpected JSON type: Array"),
        (b'{"a": {"x": 1}}', "Feature: a has element with unexpected JSON type: Object"),
        (b'{"a": 9223372036854775808}', "Feature: a has uint64_t element. Only int64_t is supported."),
    ],
)
def test_a_value_that_no_feature_takes_is_refused_in_tensorflow_servings_words(text, error) -> None:
    """With the name of the feature."""
    with pytest.raises(InvalidArgument, match=f"^{re.escape(error)}$"):
        example_bytes(parse_exactly(text))


def test_a_name_that_is_not_utf8_is_refused() -> None:
    """Protobuf would not carry it."""
    with pytest.raises(InvalidArgument, match="is not a name of a feature, as it is not UTF-8"):
        example_bytes(parse_exactly(b'{"\xff": 1}'))
