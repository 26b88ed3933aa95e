"""The one text for whatever ends a start or a command: code, what happened, and what to do next.

Ray has no classes for most of its failures, so they are recognized by their texts (Ray 2.60).
"""

from __future__ import annotations

import errno
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from core.errors import PARSE_ERROR, Code, ConfigError, ServingError

LONGEST_TEXT = 1000
"""Characters of a text of somebody else's that are shown; Ray's may hold whole logs."""

TRACEBACK_VARIABLE: Final = "RAY_MODEL_SERVER_TRACEBACK"
"""Environment variable that shows where a failure came from."""

CLASS_NAME: Final = re.compile(r"^[\w.]+\.\w+: ")
"""The class in the last line of a traceback, with its module."""

OS_CODES: Mapping[int, Code] = MappingProxyType(
    {
        errno.ENOENT: Code.NOT_FOUND,
        errno.ENOTDIR: Code.NOT_FOUND,
        errno.EACCES: Code.PERMISSION_DENIED,
        errno.EPERM: Code.PERMISSION_DENIED,
        errno.EROFS: Code.PERMISSION_DENIED,
        errno.ENOSPC: Code.RESOURCE_EXHAUSTED,
        errno.EDQUOT: Code.RESOURCE_EXHAUSTED,
        errno.ENOMEM: Code.RESOURCE_EXHAUSTED,
        errno.EAGAIN: Code.RESOURCE_EXHAUSTED,
        errno.EMFILE: Code.RESOURCE_EXHAUSTED,
        errno.ENFILE: Code.RESOURCE_EXHAUSTED,
        errno.EADDRINUSE: Code.FAILED_PRECONDITION,
        errno.EADDRNOTAVAIL: Code.FAILED_PRECONDITION,
    }
)

_AUTHENTICATE: Final = "Give this server the token of the cluster: RAY_AUTH_MODE=token and RAY_AUTH_AUTHENTICATE_PATH."

KNOWN: Final = (
    ("AF_UNIX path length", Code.FAILED_PRECONDITION, "Set TMPDIR to a folder with a shorter name, such as /tmp."),
    ("No usable temporary directory", Code.FAILED_PRECONDITION, "Set TMPDIR to a folder that can be written to."),
    ("Version mismatch", Code.FAILED_PRECONDITION, "Run this server with the Ray and the Python of the cluster."),
    ("Could not find any running Ray", Code.UNAVAILABLE, "Start one (ray start --head), or omit --ray_address."),
    ("Invalid address format", Code.INVALID_ARGUMENT, "--ray_address is HOST:PORT, or auto."),
    ("for ServeDeploySchema", Code.INVALID_ARGUMENT, "Correct it in the config of Ray Serve."),
    ("ray client connection timeout", Code.UNAVAILABLE, "Use the cluster's own address, HOST:6379 by default."),
    (
        "Failed to start the grpc server",
        Code.FAILED_PRECONDITION,
        "A port that is set for Ray (RAY_..._PORT) is taken.",
    ),
    ("object store memory", Code.RESOURCE_EXHAUSTED, "Give the machine or container more memory, or more /dev/shm."),
    ("Unauthenticated", Code.UNAUTHENTICATED, _AUTHENTICATE),
    ("AuthenticationError", Code.UNAUTHENTICATED, _AUTHENTICATE),
)
"""Parts of foreign texts, the code that they stand for, and what to do."""


def failure_text(error: BaseException) -> str:
    """Return `CODE: text` for an error of any kind, in one paragraph unless the error itself has several lines."""
    if isinstance(error, ServingError):
        return f"{error.code.name}: {error}"
    text = _shortened(str(error))
    for part, code, advice in KNOWN:
        if part in text:
            return f"{code.name}: {text.rstrip('. ')}. {advice}"
    if isinstance(error, MemoryError):
        return f"{Code.RESOURCE_EXHAUSTED.name}: There is not enough memory. {text}".rstrip()
    if isinstance(error, OSError) and error.errno is not None:
        return f"{OS_CODES.get(error.errno, Code.UNAVAILABLE).name}: {_os_text(error)}"
    if isinstance(error, ImportError):
        return f"{Code.FAILED_PRECONDITION.name}: {text}. The installation is not complete: install the package again."
    return f"{Code.INTERNAL.name}: {type(error).__name__}: {text} ({TRACEBACK_VARIABLE}=1 shows where it came from.)"


def last_cause(text: str) -> str:
    """Return the last line of a text with a traceback, without the name of the error's class; others as they are."""
    if "Traceback (most recent call last)" not in text:
        return text
    last = [line for line in text.splitlines() if line.strip()][-1].strip()
    return CLASS_NAME.sub("", last)


def _os_text(error: OSError) -> str:
    names = " and ".join(str(one) for one in (error.filename, error.filename2) if one is not None)
    return f"{names}: {error.strerror}" if names else f"{error.strerror}"


def _shortened(text: str) -> str:
    stripped = text.strip()
    return stripped if len(stripped) <= LONGEST_TEXT else f"{stripped[:LONGEST_TEXT]}…"


def parse_errors(error: BaseException) -> list[str]:
    """Return what protobuf's library says on stderr of text files that it cannot parse, a line for each mistake.

    TensorFlow Serving's users find mistakes of their files by these lines.
    """
    problems = error.problems if isinstance(error, ConfigError) else ()
    found = (problem.message.partition(PARSE_ERROR) for problem in problems)
    return [f"{known}{detail}" for _, known, detail in found if known]
