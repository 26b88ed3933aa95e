"""Classify, independent of the protocol: the tensors of a run and the checks of its answer (TensorFlow Serving)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, NamedTuple

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
from core.inference.signature import CLASSIFY_METHOD, DEFAULT_SIGNATURE, ServedModel, Signature

CLASSES_KEY: Final = "classes"
SCORES_KEY: Final = "scores"


class ScoredClass(NamedTuple):
    """One class of an answer; None for a label or a score that the signature does not have."""

    label: bytes | None
    score: float | None


Classifications = list[list[ScoredClass]]


def plan_classification(
    model: ServedModel, signature_key: str, examples: Sequence[bytes], *, check_method: bool = False
) -> ExamplesPlan[Classifications]:
    """Plan the classification of serialized examples; an empty key means the default signature."""
    signature = named_signature(model.signatures, signature_key or DEFAULT_SIGNATURE)
    return classification(signature, check_method=check_method).over(examples)


def classification(signature: Signature, *, check_method: bool = False) -> ExamplesMethod[Classifications]:
    """Check that a signature can classify, and say how."""
    if check_method:
        check_method_name("classification", CLASSIFY_METHOD, signature.method)
    check_one_input(signature)
    outputs = signature.outputs
    if len(outputs) not in {1, 2}:
        raise InvalidArgument(f"Expected one or two output Tensors, found {len(outputs)}")
    source = examples_input("classification", signature)
    keys = tuple(key for key in (CLASSES_KEY, SCORES_KEY) if key in outputs)
    if not keys:
        raise InvalidArgument(
            'Expected classification signature outputs to contain at least one of "classes" or "scores". '
            f"Signature was: {debug_text(signature)}"
        )
    columns = _Columns(keys, tuple(outputs[key].tensor for key in keys))
    return ExamplesMethod(source.tensor, tuple(dict.fromkeys(columns.tensors)), partial(_decode, columns))


@dataclass(frozen=True, slots=True)
class _Columns:
    keys: tuple[str, ...]
    tensors: tuple[str, ...]

    def named(self, arrays: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        fetches = tuple(dict.fromkeys(self.tensors))
        check_fetched(arrays, len(fetches))
        by_tensor = dict(zip(fetches, arrays, strict=True))
        return {key: by_tensor[tensor] for key, tensor in zip(self.keys, self.tensors, strict=True)}


def _decode(columns: _Columns, arrays: Sequence[np.ndarray], count: int) -> Classifications:
    named = columns.named(arrays)
    classes, scores = named.get(CLASSES_KEY), named.get(SCORES_KEY)
    for array in named.values():
        _check_rank(array)
    if classes is not None:
        _check_output(CLASSES_KEY, classes, count, "DT_STRING")
    if scores is not None:
        _check_output(SCORES_KEY, scores, count, "DT_FLOAT")
    if classes is not None and scores is not None:
        _check_same_width(classes, scores)
    width = next(iter(named.values())).shape[1]
    return [
        [ScoredClass(label, score) for label, score in zip(labels, values, strict=True)]
        for labels, values in zip(_rows(classes, count, width), _rows(scores, count, width), strict=True)
    ]


def _rows(array: np.ndarray | None, count: int, width: int) -> Sequence[Sequence]:
    return array.tolist() if array is not None else [[None] * width] * count


def _check_rank(array: np.ndarray) -> None:
    if array.ndim != 2:
        raise InvalidArgument(f"Expected Tensor shape: [batch_size num_classes] but got {shape_text(array)}")


def _check_output(key: str, array: np.ndarray, count: int, dtype: str) -> None:
    if type_text(array) != dtype:
        raise InvalidArgument(f"Expected {key} Tensor of {dtype}. Got: {type_text(array)}")
    if array.shape[0] != count:
        raise InvalidArgument(f"Expected {key} output batch size of {count}. Got: {array.shape[0]}")


def _check_same_width(classes: np.ndarray, scores: np.ndarray) -> None:
    if classes.shape[1] != scores.shape[1]:
        raise InvalidArgument(
            f"Tensors class and score should match in dim_size(1). Got {classes.shape[1]} vs. {scores.shape[1]}"
        )
