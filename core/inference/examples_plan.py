"""The common part of Classify and Regress: serialized Examples, fed as one tensor of strings, and a checked answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, Generic, TypeVar

import numpy as np

from core.errors import InvalidArgument
from core.inference.dtypes import type_of
from core.inference.error_texts import debug_text
from core.inference.signature import Signature, TensorSpec
from core.inference.tensor_proto import LARGEST_REPETITION_BYTES, bytes_array

INPUTS_KEY: Final = "inputs"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ExamplesPlan(Generic[T]):
    """A session run over examples; `decode` checks and reads the fetched arrays, in the order of `fetches`."""

    feeds: Mapping[str, np.ndarray]
    fetches: tuple[str, ...]
    decode: Callable[[Sequence[np.ndarray]], T]


@dataclass(frozen=True, slots=True)
class ExamplesMethod(Generic[T]):
    """How a signature is used for examples: the fed tensor, the fetches, the reader of an answer to `n` examples."""

    tensor: str
    fetches: tuple[str, ...]
    decode: Callable[[Sequence[np.ndarray], int], T]

    def over(self, examples: Sequence[bytes]) -> ExamplesPlan[T]:
        """Bind the method to examples."""
        feeds = {self.tensor: example_tensor(examples)}
        return ExamplesPlan(feeds, self.fetches, partial(self._decode, len(examples)))

    def _decode(self, count: int, arrays: Sequence[np.ndarray]) -> T:
        return self.decode(arrays, count)


def with_context(context: bytes, examples: Sequence[bytes]) -> list[bytes]:
    """Put a context in front of each example: protobuf merges what is concatenated, so an example's feature wins.

    Raises InvalidArgument when a small request would become a huge one.
    """
    if len(context) * len(examples) > LARGEST_REPETITION_BYTES:
        raise InvalidArgument(f"A context of {len(context)} bytes is too large for {len(examples)} examples.")
    return [context + example for example in examples]


def example_tensor(examples: Sequence[bytes]) -> np.ndarray:
    """Make the one tensor that the model parses; there must be something to answer."""
    if not examples:
        raise InvalidArgument("Input is empty.")
    return bytes_array(examples)


def named_signature(signatures: Mapping[str, Signature], key: str) -> Signature:
    """Find a signature for Classify or Regress."""
    found = signatures.get(key)
    if found is None:
        raise InvalidArgument(f"No signature was found with the name: {key}")
    return found


def check_method_name(kind: str, expected: str, actual: str) -> None:
    """Refuse a signature that was not exported for this method; servers do this only on demand."""
    if actual != expected:
        raise InvalidArgument(f"Expected {kind} signature method_name to be {expected}. Was: {actual}")


def check_one_input(signature: Signature) -> None:
    """Refuse a signature whose examples would not go into exactly one tensor."""
    if len(signature.inputs) != 1:
        raise InvalidArgument("Expected one input Tensor.")


def examples_input(kind: str, signature: Signature) -> TensorSpec:
    """Find the tensor that takes the examples."""
    spec = signature.inputs.get(INPUTS_KEY)
    if spec is None:
        raise InvalidArgument(f"No {kind} inputs found in SignatureDef: {debug_text(signature)}")
    return spec


def check_fetched(arrays: Sequence[np.ndarray], expected: int) -> None:
    """Refuse a run that did not return one array for each fetch."""
    if len(arrays) != expected:
        raise InvalidArgument(f"Expected {expected} output tensor(s).  Got: {len(arrays)}")


def shape_text(array: np.ndarray) -> str:
    """Print a shape as `[2,2,10]`."""
    return f"[{','.join(map(str, array.shape))}]"


def type_text(array: np.ndarray) -> str:
    """Print a type as `DT_FLOAT`."""
    return type_of(array).wire_name
