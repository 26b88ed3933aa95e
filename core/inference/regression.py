"""Regress, independent of the protocol: the tensors of a run and the checks of its answer (TensorFlow Serving)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from core.errors import InvalidArgument
from core.inference.error_texts import debug_text
from core.inference.examples_plan import (
    ExamplesMethod,
    ExamplesPlan,
    check_fetched,
    check_method_name,
    check_one_input,
    examples_input,
    named_signature,
    shape_text,
    type_text,
)
from core.inference.signature import DEFAULT_SIGNATURE, REGRESS_METHOD, ServedModel, Signature

OUTPUTS_KEY: Final = "outputs"

Regressions = list[float]


def plan_regression(
    model: ServedModel, signature_key: str, examples: Sequence[bytes], *, check_method: bool = False
) -> ExamplesPlan[Regressions]:
    """Plan the regression of serialized examples; an empty key means the default signature."""
    signature = named_signature(model.signatures, signature_key or DEFAULT_SIGNATURE)
    return regression(signature, check_method=check_method).over(examples)


def regression(signature: Signature, *, check_method: bool = False) -> ExamplesMethod[Regressions]:
    """Check that a signature can regress, and say how."""
    if check_method:
        check_method_name("regression", REGRESS_METHOD, signature.method)
    check_one_input(signature)
    if len(signature.outputs) != 1:
        raise InvalidArgument("Expected one output Tensor.")
    source = examples_input("regression", signature)
    output = signature.outputs.get(OUTPUTS_KEY)
    if output is None:
        raise InvalidArgument(f"No regression outputs found in SignatureDef: {debug_text(signature)}")
    return ExamplesMethod(source.tensor, (output.tensor,), _decode)


def _decode(arrays: Sequence[np.ndarray], count: int) -> Regressions:
    check_fetched(arrays, 1)
    (output,) = arrays
    if output.ndim not in {1, 2} or output.shape[1:] not in {(), (1,)}:
        raise InvalidArgument(
            "Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got " + shape_text(output)
        )
    if len(output) != count:
        raise InvalidArgument(f"Input batch size did not match output batch size: {count} vs. {len(output)}")
    if type_text(output) != "DT_FLOAT":
        raise InvalidArgument(f"Expected output Tensor of DT_FLOAT.  Got: {type_text(output)}")
    values: Regressions = output.reshape(-1).tolist()
    return values
