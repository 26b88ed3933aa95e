"""What a service of the gRPC port consists of: its methods, those with a short way, and how each answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from core.errors import Code
from core.grpc.model_spec import peek
from core.grpc.rights import PathRule
from core.http2.grpc_heads import retry_trailers
from core.routing.transport import Method
from deployments.routing.short_call import Asked


@dataclass(frozen=True, slots=True)
class GrpcAnswer:
    """A response message, or a code with its text.

    `retry_after_s`: seconds after which a refused call may be sent again; 0 where nothing is known of that.
    """

    code: Code
    message: str = ""
    body: bytes = b""
    retry_after_s: float = 0.0

    @property
    def trailers(self) -> tuple[tuple[str, str], ...]:
        """The metadata that goes with the code."""
        return retry_trailers(self.retry_after_s)


Answering = Callable[[bytes, float | None], Awaitable[GrpcAnswer]]
"""Answers a message, with the seconds until the caller's deadline; raises ServingError."""


class AskedSignature(Asked, Protocol):
    """The model that a call names, and the signature; empty where it names none."""

    @property
    def signature(self) -> str: ...


class ShortMethod(NamedTuple):
    """An inference method: its name at model servers, its name in metrics, and how it names model and signature.

    `tensor_at` finds the raw tensor in a large message.
    """

    method: Method
    api: str
    asked: Callable[[bytes], AskedSignature] = peek
    tensor_at: Callable[[bytes], int] | None = None


SHORT_METHODS = tuple(
    ShortMethod(method, api)
    for method, api in ((Method.PREDICT, "Predict"), (Method.CLASSIFY, "Classify"), (Method.REGRESS, "Regress"))
)


@dataclass(frozen=True, slots=True)
class GrpcService:
    """A further service of the gRPC port; `short` are those of its methods that need no handler where all goes well.

    `rules` say what its methods need, by path. `overload` is the code of a call beyond the port's bound of calls in
    work; `probes` are methods without a bound.
    """

    name: str
    methods: Mapping[str, Answering]
    short: tuple[ShortMethod, ...] = ()
    rules: Mapping[str, PathRule] = field(default_factory=dict)
    overload: Code = Code.RESOURCE_EXHAUSTED
    probes: frozenset[str] = frozenset()
