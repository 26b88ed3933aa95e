"""What both clients' connections have in common: repetitions, reconnection, size limits, the token of a caller."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from typing import Any, TypeVar, cast

import grpc

from ray_model_client.values import Code, ServerError

F = TypeVar("F", bound=Callable[..., Any])

TIMEOUT_S = 60.0
RETRY_POLICY = {
    "methodConfig": [
        {
            "name": [{}],
            "retryPolicy": {
                "maxAttempts": 5,
                "initialBackoff": "0.05s",
                "maxBackoff": "1s",
                "backoffMultiplier": 3,
                "retryableStatusCodes": ["UNAVAILABLE"],
            },
        }
    ]
}
OPTIONS = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    # gRPC waits up to two minutes before it looks for a server again, and twenty seconds for one that does not reply.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.min_reconnect_backoff_ms", 1500),
    ("grpc.service_config", json.dumps(RETRY_POLICY)),
)
"""With these, a client finds a server that has come back within two seconds."""

Metadata = tuple[tuple[str, str], ...]


def metadata_of(token: str | None) -> Metadata:
    """Return what each call says of its caller; raises ValueError for a token that no header can carry."""
    if token is not None and not (token.isascii() and token.isprintable() and token.strip() == token and token):
        raise ValueError("The token is not one line of visible ASCII characters.")
    return () if token is None else (("authorization", f"Bearer {token}"),)


def server_error(error: grpc.RpcError) -> ServerError:
    """Return the error of a failed call, with the server's code and text."""
    return ServerError(Code(error.code().value[0]), str(error.details()))


def described(method: F, make: Callable[..., object], answer: str) -> F:
    """Give a client's method the name, docstring and arguments of the function that makes its call."""
    asked = inspect.signature(make)
    itself = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
    returned = str(asked.return_annotation).removeprefix("ClientCall[").removesuffix("]")
    shown = asked.replace(parameters=[itself, *asked.parameters.values()], return_annotation=answer % returned)
    method.__name__, method.__doc__ = make.__name__, make.__doc__
    cast(Any, method).__signature__ = shown
    return method
