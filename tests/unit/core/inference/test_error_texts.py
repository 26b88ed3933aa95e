"""Tests of signatures in error texts."""

from __future__ import annotations

from core.inference.dtypes import DataType
from core.inference.error_texts import braced, debug_text, listed
from core.inference.signature import Signature
from tests.support.served_models import spec


def test_a_signature_is_shown_in_protobufs_text_format() -> None:
    """Names, types and shapes are what a reader needs to see his mistake."""
    shown = Signature({"x": spec("x:0", shape=(-1, 2))}, {"y": spec("y:0", DataType.STRING, None)}, "m")

    expected = (
        'inputs { key: "x" value { name: "x:0" dtype: DT_FLOAT '
        "tensor_shape { dim { size: -1 } dim { size: 2 } } } } "
        'outputs { key: "y" value { name: "y:0" dtype: DT_STRING tensor_shape { unknown_rank: true } } } '
        'method_name: "m"'
    )
    assert " ".join(debug_text(shown).split()) == expected


def test_an_empty_signature_is_empty() -> None:
    """Nothing to see."""
    assert debug_text(Signature({}, {}, "")) == ""


def test_names_are_sorted_and_separated_by_commas() -> None:
    """Texts do not depend on the order of a request."""
    assert listed({"b", "a"}) == "a,b"
    assert braced({"b": 1, "a": 2}) == "{a,b}"
    assert braced(()) == "{}"
