"""Reads configuration files as text: plain files of a bounded size, and objects of the stores that base paths name."""

from __future__ import annotations

import io
import os
import stat
import time
from typing import TYPE_CHECKING

from core.errors import ConfigError, Problem
from core.storage.retry_policy import RetryPolicy
from core.storage.store_errors import StorageFailed
from core.storage.version_listing import is_remote, local_path
from core.telemetry.redaction import without_secrets

if TYPE_CHECKING:
    from deployments.storage.remote_store import RemoteStore

FILE_RETRIES = RetryPolicy(attempts=3, first_pause_s=0.3)

LARGEST_FILE_BYTES = 16 * 1024 * 1024
"""Largest configuration file; a larger one is a mistake that would cost memory and minutes."""


def read_text(path: str) -> str:
    """Read a configuration file; raises ConfigError when it cannot be read.

    A URL of a store is asked at once, and again when a failure may pass: seconds may go by. Of local files only plain
    ones are read, because a second read of a pipe would block. A byte order mark is removed.
    """
    try:
        return as_text(_remote_content(path) if is_remote(path) else _content(local_path(path)))
    except (OSError, ValueError, StorageFailed) as error:
        raise ConfigError((unreadable(path, error),)) from error


def as_text(content: bytes) -> str:
    """Return the text of a file with the line ends of this system; raises ValueError for other encodings than UTF-8."""
    return io.StringIO(content.decode("utf-8-sig"), newline=None).read()


def unreadable(path: str, error: Exception) -> Problem:
    """Return the problem of a file that cannot be read."""
    reason = str(error).removeprefix(f"{without_secrets(path)}: ")
    return Problem(f"cannot be read: {reason}", file=without_secrets(path))


def file_store() -> RemoteStore:
    """Return the store for files at URLs."""
    from deployments.storage.any_store import AnyStore  # noqa: PLC0415 - only URLs need fsspec
    from deployments.storage.remote_store import RetryingStore  # noqa: PLC0415

    return RetryingStore(AnyStore(), FILE_RETRIES, time.sleep)


def _remote_content(url: str) -> bytes:
    found = file_store().read_whole(url, LARGEST_FILE_BYTES)
    return found.content if found is not None else b""


def _content(path: str) -> bytes:
    with open(path, "rb", opener=_without_waiting) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(f"{path!r} is not a plain file")
        content = file.read(LARGEST_FILE_BYTES + 1)
    if len(content) > LARGEST_FILE_BYTES:
        raise OSError(f"it is larger than {LARGEST_FILE_BYTES} bytes")
    return content


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)
