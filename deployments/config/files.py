"""Reads configuration files: plain files of a bounded size, as text."""

from __future__ import annotations

import io
import os
import stat

from core.errors import ConfigError, Problem

LARGEST_FILE_BYTES = 16 * 1024 * 1024
"""Largest configuration file; a larger one is a mistake that would cost memory and minutes."""


def read_text(path: str) -> str:
    """Read a configuration file; raises ConfigError when it cannot be read.

    Only plain files are read, because a second read of a pipe would block. A byte order mark is removed.
    """
    try:
        content = _content(path)
        return io.StringIO(content.decode("utf-8-sig"), newline=None).read()
    except (OSError, ValueError) as error:
        raise ConfigError((Problem(f"cannot be read: {error}", file=path),)) from error


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
