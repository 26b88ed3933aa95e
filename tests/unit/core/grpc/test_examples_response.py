"""Tests of the wire form of classification and regression results."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from core.grpc.examples_response import classification_result, examples_response, regression_result
from core.grpc.model_spec import answer_spec
from core.inference.classification import ScoredClass
from core.protos import serving_pb2

FLOATS = st.floats(width=32, allow_nan=False)
CLASSES = st.builds(ScoredClass, st.none() | st.text("aß", max_size=200).map(str.encode), st.none() | FLOATS)


@given(st.lists(st.lists(CLASSES, max_size=3), max_size=3))
@example([[ScoredClass(None, 0.0), ScoredClass(b"", -0.0), ScoredClass(b"a", None)], []])
@example([[ScoredClass(b"a" * 128, float("inf")), ScoredClass(None, 2.0**-149)]])
def test_classifications_equal_the_runtimes(rows) -> None:
    """Hand-made bytes are those of protobuf."""
    expected = serving_pb2.ClassificationResult()
    for row in rows:
        added = expected.classifications.add()
        for one in row:
            added.classes.add(label=(one.label or b"").decode(), score=one.score or one.score)

    assert classification_result(rows) == expected.SerializeToString()


@given(st.lists(FLOATS, max_size=5))
@example([0.0, -0.0, float("inf"), float("-inf"), 2.0**-149])
def test_regressions_equal_the_runtimes(values) -> None:
    """Hand-made bytes are those of protobuf, also inside a response."""
    expected = serving_pb2.RegressionResponse()
    expected.result.SetInParent()
    for value in values:
        expected.result.regressions.add(value=value)
    expected.model_spec.name = "m"
    expected.model_spec.version.value = 3

    assert examples_response(regression_result(values), answer_spec("m", 3)) == expected.SerializeToString()
