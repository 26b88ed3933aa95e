"""The one error tree: each class names its canonical code, which is its gRPC status too; `HTTP_STATUS` is REST's.

ServingError                     gRPC status          HTTP status
├── InvalidArgument              INVALID_ARGUMENT     400          the request is wrong; sending it again does not help
│   ├── LabelNotFound            INVALID_ARGUMENT     400          no version has the requested label
│   └── ConfigError              INVALID_ARGUMENT     400          a configuration has mistakes; carries all of them
│       └── TransitionRefused    FAILED_PRECONDITION  400          it may not follow the configuration in force
├── NotFound                     NOT_FOUND            404          nothing answers under that name
│   ├── ServableNotFound         NOT_FOUND            404          no version can answer the request at present
│   └── StatusNotFound           NOT_FOUND            404          no version was ever seen under that name
├── FailedPrecondition           FAILED_PRECONDITION  400          well formed, but not possible in the present state
├── Aborted                      ABORTED              409          another change came first; read again, then repeat
├── DeadlineExceeded             DEADLINE_EXCEEDED    504          the caller's deadline has passed
├── ResourceExhausted            RESOURCE_EXHAUSTED   429          a limit of this server was reached
│   └── LimitReached             RESOURCE_EXHAUSTED   429          a limit that the operator set; says when to try again
├── PermissionDenied             PERMISSION_DENIED    403          the operator has not allowed it
├── Unauthenticated              UNAUTHENTICATED      401          the caller has not shown who it is
├── Unavailable                  UNAVAILABLE          503          try again, here or elsewhere
│   └── ServerFull               UNAVAILABLE          503          as many requests wait as may or can in time
├── Unimplemented                UNIMPLEMENTED        501          this server does not offer it
├── Internal                     INTERNAL             500          a defect of the server
├── DataLoss                     DATA_LOSS            500          the content of a file is damaged
└── RuntimeFailure               its own              its own      TensorFlow's own code and text, passed through
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar, Final


class Code(enum.IntEnum):
    """Canonical status codes, with the numbers of gRPC and TensorFlow: a code is sent as gRPC status as it is."""

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


HTTP_STATUS: Mapping[Code, int] = MappingProxyType(
    {
        Code.OK: 200,
        Code.CANCELLED: 499,
        Code.UNKNOWN: 500,
        Code.INVALID_ARGUMENT: 400,
        Code.DEADLINE_EXCEEDED: 504,
        Code.NOT_FOUND: 404,
        Code.ALREADY_EXISTS: 409,
        Code.PERMISSION_DENIED: 403,
        Code.RESOURCE_EXHAUSTED: 429,
        Code.FAILED_PRECONDITION: 400,
        Code.ABORTED: 409,
        Code.OUT_OF_RANGE: 400,
        Code.UNIMPLEMENTED: 501,
        Code.INTERNAL: 500,
        Code.UNAVAILABLE: 503,
        Code.DATA_LOSS: 500,
        Code.UNAUTHENTICATED: 401,
    }
)
"""HTTP status of each code (TensorFlow Serving, REST status mapping)."""


class ServingError(Exception):
    """Base of all errors that a client may see: a canonical code and a message."""

    code: Code = Code.UNKNOWN
    retry_after_s: float = 0.0
    """Seconds after which the same request may be sent again; 0 where nothing is known of that."""

    def __init__(self, message: str) -> None:
        super().__init__(message)

    def __str__(self) -> str:
        return str(self.args[0])


class InvalidArgument(ServingError):
    """The request can never be answered as it stands."""

    code = Code.INVALID_ARGUMENT


class NotFound(ServingError):
    """The requested name is not known."""

    code = Code.NOT_FOUND


class FailedPrecondition(ServingError):
    """The request is well formed, but the present state does not allow it."""

    code = Code.FAILED_PRECONDITION


class Aborted(ServingError):
    """The change was made for a state that is outdated; the caller reads the state again and repeats it."""

    code = Code.ABORTED


class DeadlineExceeded(ServingError):
    """The caller's deadline passed before the answer was ready."""

    code = Code.DEADLINE_EXCEEDED


class ResourceExhausted(ServingError):
    """A limit of this server was reached."""

    code = Code.RESOURCE_EXHAUSTED


class LimitReached(ResourceExhausted):
    """More came than the operator lets in; `retry_after_s` is when there is room again."""

    def __init__(self, message: str, retry_after_s: float) -> None:
        Exception.__init__(self, message, retry_after_s)
        self.retry_after_s = retry_after_s


class PermissionDenied(ServingError):
    """The operator has not allowed this."""

    code = Code.PERMISSION_DENIED


class Unauthenticated(ServingError):
    """The caller has not shown who it is, or not in a way that counts."""

    code = Code.UNAUTHENTICATED


class Unavailable(ServingError):
    """The request cannot be answered at present; the caller may try again."""

    code = Code.UNAVAILABLE


class ServerFull(Unavailable):
    """As many requests wait as may wait, or as can be answered in time."""

    retry_after_s = 1.0


class Unimplemented(ServingError):
    """The operation or type is not offered."""

    code = Code.UNIMPLEMENTED


class Internal(ServingError):
    """A defect of the server or of the model's declaration."""

    code = Code.INTERNAL


class DataLoss(ServingError):
    """The content of a file is damaged, or is not of the expected kind."""

    code = Code.DATA_LOSS


class RuntimeFailure(ServingError):
    """An error of TensorFlow's runtime, with its own code."""

    def __init__(self, code: Code, message: str) -> None:
        Exception.__init__(self, code, message)
        self.code = code

    def __str__(self) -> str:
        return str(self.args[1])


class LabelNotFound(InvalidArgument):
    """No version carries the requested label (TensorFlow Serving, version labels)."""

    def __init__(self, label: str) -> None:
        super().__init__(label)

    def __str__(self) -> str:
        return f"Unrecognized servable version label: {self.args[0]}"


class ServableNotFound(NotFound):
    """No version of the model can answer now (TensorFlow Serving, resolution of a model spec)."""

    def __init__(self, model: str, version: int | None) -> None:
        Exception.__init__(self, model, version)

    def __str__(self) -> str:
        model, version = self.args
        wanted = f"Latest({model})" if version is None else f"Specific({model}, {version})"
        return f"Servable not found for request: {wanted}"


class StatusNotFound(NotFound):
    """No version was ever seen under that name (TensorFlow Serving, GetModelStatus)."""

    def __init__(self, model: str, version: int | None) -> None:
        Exception.__init__(self, model, version)

    def __str__(self) -> str:
        model, version = self.args
        if version is None:
            return f"Could not find any versions of model {model}"
        return f"Could not find version {version} of model {model}"


PARSE_ERROR: Final = "Error parsing text-format "
"""How protobuf's library begins what it says of a text that it cannot parse."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake in a configuration, with its position."""

    message: str
    file: str = ""
    line: int | None = None
    field: str = ""

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        return ": ".join(part for part in (place, self.field, self.message) if part)


class ConfigError(InvalidArgument):
    """A configuration has mistakes; all of them are listed."""

    separator: ClassVar[str] = "\n"

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        Exception.__init__(self, problems)

    @property
    def problems(self) -> tuple[Problem, ...]:
        """All mistakes, in the order of the files."""
        return tuple(self.args[0])

    def __str__(self) -> str:
        return self.separator.join(str(problem) for problem in self.problems)


class TransitionRefused(ConfigError):
    """A configuration may not follow the one in force, which stays."""

    code = Code.FAILED_PRECONDITION
