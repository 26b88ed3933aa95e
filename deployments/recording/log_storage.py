"""Storage of request logs: a folder of this node, or a store that fsspec knows."""

from __future__ import annotations

import os
import shutil
import tempfile
from typing import IO, Protocol

from core.recording.log_files import UNFINISHED
from core.storage.version_listing import is_remote, local_path
from deployments.storage.store_opening import open_store


class LogFile(Protocol):
    """A file that is being written."""

    def append(self, data: bytes) -> None:
        """Add all of it; raises OSError, and then the file is as it was before, as far as that is possible."""

    def finish(self) -> None:
        """Let readers see the file; raises OSError. Nothing can be added afterwards."""

    def discard(self) -> None:
        """Leave nothing behind; raises OSError."""


class LocalLogFile:
    """A file beside its final name; added bytes are with the operating system at once."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._file = open(name + UNFINISHED, "xb", buffering=0)  # noqa: SIM115 - closed by finish and discard

    def append(self, data: bytes) -> None:
        """Add to the file."""
        append_whole(self._file, data)

    def finish(self) -> None:
        """Return the file its final name."""
        with self._file:
            os.fsync(self._file.fileno())
        os.rename(self._name + UNFINISHED, self._name)

    def discard(self) -> None:
        """Remove the file."""
        self._file.close()
        os.unlink(self._name + UNFINISHED)


class RemoteLogFile:
    """An object of a store, which cannot be appended to: it is collected on this node and sent as a whole."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._collected = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - closed by finish and discard

    def append(self, data: bytes) -> None:
        """Collect."""
        append_whole(self._collected, data)

    def finish(self) -> None:
        """Send the object."""
        with self._collected:
            self._collected.seek(0)
            try:
                with open_store(self._url).open(self._url, "wb") as target:
                    shutil.copyfileobj(self._collected, target)
            except Exception as error:  # each store has errors of its own
                raise OSError(f"{self._url} cannot be written: {error}") from error

    def discard(self) -> None:
        """Drop the collected bytes."""
        self._collected.close()


def append_whole(file: IO[bytes], data: bytes) -> None:
    """Write all of it, or truncate the part that was written; raises OSError."""
    begun = file.tell()
    rest = memoryview(data)
    try:
        while rest:
            rest = rest[file.write(rest) :]
    except OSError:
        file.seek(begun)
        file.truncate()
        raise


def open_log_file(name: str) -> LogFile:
    """Begin a file under a path or URL; raises OSError."""
    return RemoteLogFile(name) if is_remote(name) else LocalLogFile(local_path(name))
