"""An inference request of the Open Inference Protocol, whichever way it came: tensors as arrays, and its choices."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, TypeAlias

import numpy as np

from core.errors import InvalidArgument
from core.inference.tensor_proto import MAX_RANK, MAX_TENSOR_BYTES

Parameter: TypeAlias = bool | int | float | str
NO_PARAMETERS: Final[Mapping[str, Parameter]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class InputTensor:
    """One input as it was sent: `array` has the shape and the dtype that the request gave."""

    name: str
    array: np.ndarray


@dataclass(frozen=True, slots=True)
class RequestedOutput:
    """One output that the request names; `is_binary` is None where it does not say in which form."""

    name: str
    is_binary: bool | None = None


@dataclass(frozen=True, slots=True)
class InferRequest:
    """One request; without `outputs` it asks for all. `id` is None where it has none."""

    inputs: tuple[InputTensor, ...]
    outputs: tuple[RequestedOutput, ...] = ()
    id: str | None = None
    parameters: Mapping[str, Parameter] = field(default_factory=lambda: NO_PARAMETERS)


def element_count(name: str, shape: Sequence[int], itemsize: int) -> int:
    """Return how many elements a shape has.

    Raises InvalidArgument for a negative dimension, for more dimensions than numpy has, and for a tensor that is larger
    than a request may be. A zero does not hide absurd neighbours.
    """
    if len(shape) > MAX_RANK:
        raise InvalidArgument(f"input '{name}' has {len(shape)} dimensions; {MAX_RANK} are possible")
    if shape and min(shape) < 0:
        raise InvalidArgument(f"input '{name}' has a negative dimension: {dimensions_text(shape)}")
    if math.prod(filter(None, shape)) * itemsize > MAX_TENSOR_BYTES:
        raise InvalidArgument(
            f"input '{name}' of shape {dimensions_text(shape)} is larger than {MAX_TENSOR_BYTES} bytes"
        )
    return math.prod(shape)


def dimensions_text(shape: Sequence[int]) -> str:
    """Write a shape as clients of the protocol know it."""
    return f"[{','.join(map(str, shape))}]"
