"""An inference request of the Open Inference Protocol, whichever way it came: tensors as arrays, and its choices."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Final, NamedTuple, TypeAlias

import numpy as np

from core.errors import InvalidArgument
from core.inference.tensor_proto import MAX_RANK, MAX_TENSOR_BYTES

Parameter: TypeAlias = bool | int | float | str
NO_PARAMETERS: Final[Mapping[str, Parameter]] = MappingProxyType({})


_SEQUENCE: Final = frozenset({"sequence_id", "sequence_start", "sequence_end"})
_RESERVED: Final = "triton_"
_HARMLESS: Final = "triton_enable_empty_final_response"
_SHARED_MEMORY: Final = "shared_memory_"
_CLASSIFICATION: Final = "classification"


class InputTensor(NamedTuple):
    """One input as it was sent: `array` has the shape and the dtype that the request gave."""

    name: str
    array: np.ndarray


class RequestedOutput(NamedTuple):
    """One output that the request names; `is_binary` is None where it does not say in which form."""

    name: str
    is_binary: bool | None = None


class InferRequest(NamedTuple):
    """One request; without `outputs` it asks for all. `id` is None where it has none."""

    inputs: tuple[InputTensor, ...]
    outputs: tuple[RequestedOutput, ...] = ()
    id: str | None = None
    parameters: Mapping[str, Parameter] = NO_PARAMETERS


def check_request_parameters(parameters: Iterable[str]) -> None:
    """Refuse parameters of a request that would change its meaning; raises InvalidArgument.

    Whatever else a client sends along is ignored.
    """
    for key in parameters:
        if key in _SEQUENCE:
            raise InvalidArgument(f"parameter '{key}': sequences are not supported")
        if key.startswith(_RESERVED) and key != _HARMLESS:
            raise InvalidArgument(f"parameter keys starting with '{_RESERVED}' are reserved, and '{key}' is not known")


def check_tensor_parameters(what: str, parameters: Iterable[str]) -> None:
    """Refuse parameters that this server cannot follow, of a tensor that `what` describes (`input 'x'`).

    Raises InvalidArgument; whatever else a client sends along is ignored.
    """
    for key in parameters:
        if key.startswith(_SHARED_MEMORY):
            raise InvalidArgument(f"{what} has parameter '{key}': shared memory is not supported; send the data")
        if key == _CLASSIFICATION:
            raise InvalidArgument(f"{what} has parameter '{key}': the classification extension is not supported")


def element_count(name: str, shape: Sequence[int], itemsize: int) -> int:
    """Return how many elements a shape has.

    Raises InvalidArgument for a negative dimension, for more dimensions than numpy has, and for a tensor that is larger
    than a request may be. A zero does not hide absurd neighbours.
    """
    if len(shape) > MAX_RANK:
        raise InvalidArgument(f"input '{name}' has {len(shape)} dimensions; {MAX_RANK} are possible")
    smallest = min(shape, default=1)
    if smallest < 0:
        raise InvalidArgument(f"input '{name}' has a negative dimension: {dimensions_text(shape)}")
    count = math.prod(shape if smallest else filter(None, shape))
    if count * itemsize > MAX_TENSOR_BYTES:
        raise InvalidArgument(
            f"input '{name}' of shape {dimensions_text(shape)} is larger than {MAX_TENSOR_BYTES} bytes"
        )
    return count if smallest else 0


def dimensions_text(shape: Sequence[int]) -> str:
    """Write a shape as clients of the protocol know it."""
    return f"[{','.join(map(str, shape))}]"
