"""How a request reaches a version: calls, answers, and the interface of whatever carries them.

Each request makes some of these values, so they are named tuples: a frozen dataclass takes several times as long to
make.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple, Protocol, TypeAlias

from core.errors import Code, ServingError, Unavailable
from core.routing.table import Route
from core.telemetry.trace_context import TraceContext
from core.versions.record import Failure
from core.versions.run_health import UNTRIED, RunHealth

LOOPBACK = "127.0.0.1"
TIMED_OUT = "Timed out waiting for notification"
"""TensorFlow's own text for a run whose time is up; a call whose time is up on the way gets the same."""


class Method(enum.IntEnum):
    """The methods of a model server, with their numbers in frames of the direct transport."""

    REST_PREDICT = 1
    REST_CLASSIFY = 2
    REST_REGRESS = 3
    REST_METADATA = 4
    PREDICT = 5
    CLASSIFY = 6
    REGRESS = 7
    MULTI_INFERENCE = 8
    GET_MODEL_METADATA = 9
    SESSION_RUN = 10
    METRICS = 11
    """What the replica has counted; answered beside the model."""
    OIP_REST_INFER = 12
    OIP_INFER = 13
    OIP_REST_METADATA = 14
    OIP_METADATA = 15
    COMPARE = 16
    """A copy of a request with the answer that its caller got; answered with a report (`core.comparison`)."""
    OBSERVE = 17
    """Which outputs to count by bins; answered with what was counted, beside the model."""


Headers: TypeAlias = tuple[tuple[str, str], ...]
"""Names, in lower case, and values of some headers of a request, in their order."""


class Call(NamedTuple):
    """One request as the router received it; `timeout_s`: seconds until the caller's deadline, None if it has none.

    A large `body` is a bytearray: the memory that it came into, which nobody changes any more. `trace` is the span that
    this call is a part of, for the few that are traced. `tensor_at` is where in a large body the memory of a raw tensor
    begins, if that is known: the model server receives it so that it need not be copied. `headers` are those of the
    request that request logs keep.
    """

    method: Method
    body: bytes
    timeout_s: float | None = None
    trace: TraceContext | None = None
    tensor_at: int = 0
    headers: Headers = ()


OVER: Final = Call(Method.METRICS, b"")
"""Stands for a call that is over, where whoever knew it is known longer: its body may be large."""


class Answer(NamedTuple):
    """What came back: a response body, or the UTF-8 error text when `code` is not OK.

    `retry_after_s`: seconds after which a refused call may be sent again; 0 where nothing is known of that.
    """

    code: Code
    body: bytes | bytearray
    retry_after_s: float = 0.0

    @classmethod
    def error(cls, code: Code, text: str) -> Answer:
        """Return the answer that carries an error, whatever characters its text has: no answer would be worse."""
        try:
            return cls(code, text.encode("utf-8", "surrogateescape"))
        except UnicodeEncodeError:
            return cls(code, text.encode("utf-8", "replace"))

    @classmethod
    def of(cls, error: ServingError) -> Answer:
        """Return the answer that carries this error."""
        answer = cls.error(error.code, str(error))
        return answer._replace(retry_after_s=error.retry_after_s) if error.retry_after_s else answer

    @property
    def text(self) -> str:
        """The error text; bytes that are not UTF-8 become replacement characters."""
        return bytes(self.body).decode("utf-8", "replace")


class Waiting(Protocol):
    """Receives the outcome of a call: a future, or an object with a future's three methods."""

    def done(self) -> bool:
        """Whether an answer would come too late."""
        ...

    def set_result(self, result: Answer, /) -> None:
        """Take the answer."""

    def set_exception(self, exception: Exception, /) -> None:
        """Take the reason why there is no answer."""


class OpenCall(Protocol):
    """A call that was sent and is not answered yet."""

    def withdraw(self) -> None:
        """Cancel the call: its answer is not awaited any more."""


class ConnectionLost(Unavailable):
    """The replica's connection ended before it answered."""


class Transport(Protocol):
    """Carries calls to the replicas of a version."""

    def begin(self, route: Route, call: Call, waiting: Waiting) -> OpenCall | None:
        """Send a call at once; `waiting` gets its answer, ConnectionLost, or DeadlineExceeded.

        None where that is not possible now and `call` must be used.
        """
        ...

    async def call(self, route: Route, call: Call) -> Answer:
        """Deliver a call that could not be sent at once, and wait for its answer.

        Raises ConnectionLost, Unavailable when no replica could be reached, and DeadlineExceeded when the time is up.
        A cancelled caller withdraws the call.
        """
        ...

    async def repeat(self, route: Route, call: Call) -> Answer:
        """Deliver a call once more, elsewhere, after its connection was lost; raises as `call` does."""
        ...

    def failing(self) -> Mapping[str, Failure]:
        """Return the applications in which every run fails, with the error."""
        ...


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Address of a replica's direct transport, the node it is on, and the token that it expects.

    `has_loopback`: the port answers on 127.0.0.1 too, for routers of the same node. `wants_load` asks routers to report
    how many calls they have open here, because Serve scales by that. `health` says how its runs went so far,
    `runs_by` what calls them, as `ServedModel.runs_by` says.
    """

    host: str
    port: int
    token: bytes
    replica: str
    node: str = ""
    has_loopback: bool = False
    wants_load: bool = False
    health: RunHealth = field(default=UNTRIED, compare=False)
    runs_by: str = field(default="", compare=False)

    def host_from(self, node: str) -> str:
        """Return the host that a router on `node` connects to."""
        return LOOPBACK if self.has_loopback and self.node == node else self.host
