"""What a version host, the process that forks, and the children say to each other over UNIX sockets.

Each message is a pickle behind its length. All of them run the same program for the same user; the sockets are in a
folder that nobody else can enter.
"""

from __future__ import annotations

import asyncio
import enum
import pickle
import socket
from dataclasses import dataclass
from typing import Any, Final

from core.routing.transport import Endpoint
from core.versions.servable_spec import ServableSpec
from deployments.inference.served_version import ServingPlace

LENGTH_BYTES: Final = 4


@dataclass(frozen=True, slots=True)
class ForkOrder:
    """To the process that forks: bind this path, and fork a child that listens there and shows this title.

    It imports `modules` before, so that the children share them.
    """

    path: str
    title: str
    modules: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Forked:
    """From the process that forks: the child of a path; without one, why it could not be forked.

    One that `is_spent` has threads and can fork no more, perhaps because of the modules that it has just imported.
    """

    path: str
    pid: int = 0
    problem: str = ""
    is_spent: bool = False
    imported: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Ended:
    """From the process that forks: a child ended, with this status; below 0 a signal killed it."""

    pid: int
    status: int


@dataclass(frozen=True, slots=True)
class LoadOrder:
    """To a child, once: load this version, and log into this folder."""

    spec: ServableSpec
    place: ServingPlace
    logs: str
    ordered_s: float


@dataclass(frozen=True, slots=True)
class ChildState:
    """From a child, whenever a host connects and when the load is over.

    `release` is of the program that it runs. With an endpoint it answers calls; with a failure it is about to end.
    """

    pid: int
    release: str
    order: LoadOrder | None = None
    endpoint: Endpoint | None = None
    failure: str = ""


class Ask(enum.Enum):
    """What a host may ask of a child."""

    ENDPOINT = "endpoint"
    """With the settings of its request log: its Endpoint, and with it the health of its runs."""

    HEALTH = "health"
    """None while its threads do not hang."""

    PROFILE = "profile"
    """With the order: code and bytes."""

    END_PROFILE = "end_profile"
    """With the key of a recording."""

    METRICS = "metrics"
    """The report of its process."""


@dataclass(frozen=True, slots=True)
class Question:
    """To a child: a question."""

    number: int
    ask: Ask
    argument: Any = None


@dataclass(frozen=True, slots=True)
class Reply:
    """From a child: the answer to a question, or the text of what went wrong."""

    number: int
    answer: Any = None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class End:
    """To a child: finish the calls in work, and end."""


@dataclass(frozen=True, slots=True)
class TakenOver:
    """From a child, at last: another host has come, to whom it belongs from now on."""


def packed(message: object) -> bytes:
    """Return the bytes of a message."""
    body = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
    return len(body).to_bytes(LENGTH_BYTES, "big") + body


def received(peer: socket.socket) -> Any:
    """Return the next message from a blocking socket; raises EOFError when the peer has gone."""
    length = int.from_bytes(_exactly(peer, LENGTH_BYTES), "big")
    return pickle.loads(_exactly(peer, length))  # noqa: S301 - of our own process


async def read_message(reader: asyncio.StreamReader) -> Any:
    """Return the next message; raises EOFError (or OSError) when the peer has gone."""
    length = int.from_bytes(await reader.readexactly(LENGTH_BYTES), "big")
    return pickle.loads(await reader.readexactly(length))  # noqa: S301 - of our own process


def write_message(writer: asyncio.StreamWriter, message: object) -> None:
    """Write a message, unless the connection is closed: who reads from it hears that, and uvloop would raise here."""
    if not writer.is_closing():
        writer.write(packed(message))


def _exactly(peer: socket.socket, length: int) -> bytes:
    parts = bytearray()
    while len(parts) < length:
        part = peer.recv(length - len(parts))
        if not part:
            raise EOFError
        parts += part
    return bytes(parts)
