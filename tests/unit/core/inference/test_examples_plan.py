"""What Classify and Regress share: examples, their context, and the checks of a signature and its answer."""

from __future__ import annotations

import re

import numpy as np
import pytest

from core.errors import InvalidArgument
from core.inference.dtypes import DataType
from core.inference.examples_plan import (
    ExamplesMethod,
    check_fetched,
    check_method_name,
    check_one_input,
    example_tensor,
    examples_input,
    named_signature,
    shape_text,
    type_text,
    with_context,
)
from core.inference.signature import Signature
from core.inference.tensor_proto import LARGEST_REPETITION_BYTES
from tests.support.served_models import EXAMPLES, spec


def test_examples_become_one_tensor_of_strings() -> None:
    """As they are, not parsed."""
    array = example_tensor([b"a", b""])

    assert (array.dtype, array.tolist()) == (np.dtype(object), [b"a", b""])


def test_a_context_stands_in_front_of_every_example() -> None:
    """Protobuf merges what is concatenated, and the later value wins."""
    assert with_context(b"c", [b"1", b""]) == [b"c1", b"c"]
    assert with_context(b"", [b"1"]) == [b"1"]


def test_a_context_that_would_fill_the_memory_is_refused() -> None:
    """A small request must not become a huge one."""
    with pytest.raises(InvalidArgument, match=r"^A context of 1048576 bytes is too large for 257 examples"):
        with_context(bytes(2**20), [b""] * (LARGEST_REPETITION_BYTES // 2**20 + 1))


def test_a_method_decodes_with_the_number_of_its_examples() -> None:
    """An answer that has another number of rows is found out."""
    method = ExamplesMethod("e:0", ("y:0",), lambda arrays, count: (len(arrays), count))

    plan = method.over([b"a", b"b"])

    assert (plan.feeds["e:0"].tolist(), plan.fetches) == ([b"a", b"b"], ("y:0",))
    assert plan.decode([np.zeros(2)]) == (1, 2)


@pytest.mark.parametrize(
    ("check", "text"),
    [
        (lambda: example_tensor([]), "Input is empty."),
        (lambda: named_signature({}, "k"), "No signature was found with the name: k"),
        (
            lambda: check_method_name("regression", "a", "b"),
            "Expected regression signature method_name to be a. Was: b",
        ),
        (lambda: check_one_input(Signature({}, {})), "Expected one input Tensor."),
        (lambda: check_fetched([np.zeros(1)], 2), "Expected 2 output tensor(s).  Got: 1"),
    ],
    ids=["no examples", "no signature", "method", "inputs", "outputs"],
)
def test_what_cannot_be_answered_is_refused_in_tensorflow_servings_words(check, text) -> None:
    """Each check has one text."""
    with pytest.raises(InvalidArgument, match=f"^{re.escape(text)}$"):
        check()


def test_the_tensor_of_examples_is_the_input_of_that_name() -> None:
    """A signature with another name shows itself in the error."""
    assert examples_input("regression", Signature({"inputs": EXAMPLES}, {})) is EXAMPLES
    with pytest.raises(InvalidArgument, match=r"^No regression inputs found in SignatureDef: inputs"):
        examples_input("regression", Signature({"x": spec("x:0")}, {}))


def test_shapes_and_types_are_printed_as_tensorflow_prints_them() -> None:
    """In error texts."""
    assert shape_text(np.zeros((2, 0))) == "[2,0]"
    assert type_text(np.zeros(0, np.float16)) == DataType.HALF.wire_name == "DT_HALF"
