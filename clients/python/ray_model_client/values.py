"""What calls return, and the one error that they raise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np


class Code(IntEnum):
    """The canonical codes of gRPC."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16

    @classmethod
    def _missing_(cls, value: object) -> Code:
        """A code that is not in gRPC's list counts as UNKNOWN, as gRPC demands."""
        del value
        return cls.UNKNOWN


class ServerError(Exception):
    """A call failed: the server's code and text, or gRPC's own where no server answered."""

    def __init__(self, code: Code, text: str) -> None:
        super().__init__(f"{code.name}: {text}")
        self.code = code
        self.text = text

    def __reduce__(self) -> tuple[type[ServerError], tuple[Code, str]]:
        """Let the error cross to another process, as those of a pool's workers do."""
        return ServerError, (self.code, self.text)


class State(IntEnum):
    """The life of a version, as TensorFlow Serving tells it."""

    UNKNOWN = 0
    START = 10
    LOADING = 20
    AVAILABLE = 30
    UNLOADING = 40
    END = 50

    @classmethod
    def _missing_(cls, value: object) -> State:
        """A state of a newer server is not known here."""
        del value
        return cls.UNKNOWN


@dataclass(frozen=True)
class VersionStatus:
    """The state of one version; `code` and `message` say why it ended, if it failed."""

    version: int
    state: State
    code: Code = Code.OK
    message: str = ""


@dataclass(frozen=True)
class TensorSpec:
    """One input or output of a signature.

    `tensor` is the graph's own name. `dtype` is TensorFlow's name of the type (`float`, `int64`, `string`). `shape`
    holds -1 for a dimension of any size, and is None where even their number may differ.
    """

    tensor: str
    dtype: str
    shape: tuple[int, ...] | None


@dataclass(frozen=True)
class Signature:
    """The named inputs and outputs by which a version is called."""

    inputs: Mapping[str, TensorSpec]
    outputs: Mapping[str, TensorSpec]
    method: str = ""


@dataclass(frozen=True)
class Inference:
    """The answer of `infer`: `outputs` by name, and what the server says of them."""

    model: str
    version: str
    outputs: Mapping[str, np.ndarray]
    id: str = ""
    parameters: Mapping[str, bool | int | float | str] = field(default_factory=dict)

    def __getitem__(self, name: str) -> np.ndarray:
        """Return an output."""
        return self.outputs[name]


@dataclass(frozen=True)
class TensorDescription:
    """One input or output of a model, in version 2's terms: `datatype` as `FP32`; -1 for a dimension of any size."""

    name: str
    datatype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class ModelDescription:
    """What version 2 says of a model."""

    name: str
    versions: tuple[str, ...]
    platform: str
    inputs: tuple[TensorDescription, ...]
    outputs: tuple[TensorDescription, ...]


@dataclass(frozen=True)
class ServerDescription:
    """What version 2 says of a server."""

    name: str
    version: str
    extensions: tuple[str, ...]
