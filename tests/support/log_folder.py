"""A folder for request logs in memory, which can be full, missing, or refuse to show what was written."""

from __future__ import annotations

import errno


class FakeLogFolder:
    """Files by name; implements what begins files of `deployments.recording.log_writer.LogWriter`.

    `room_bytes` is what still fits; `missing` refuses to begin files, `sealed` to finish them.
    """

    def __init__(self, room_bytes: int = 10**9) -> None:
        self.room_bytes = room_bytes
        self.missing = False
        self.sealed = False
        self.begun: list[FakeLogFile] = []

    def __call__(self) -> FakeLogFile:
        """Begin the next file."""
        if self.missing:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory")
        self.begun.append(FakeLogFile(self))
        return self.begun[-1]

    @property
    def finished(self) -> list[bytes]:
        """Contents of the files that readers see."""
        return [bytes(one.content) for one in self.begun if one.state == "finished"]


class FakeLogFile:
    """One file; implements `deployments.recording.log_storage.LogFile`."""

    def __init__(self, folder: FakeLogFolder) -> None:
        self._folder = folder
        self.content = bytearray()
        self.state = "open"

    def append(self, data: bytes) -> None:
        """Add, if there is room."""
        assert self.state == "open"
        if len(data) > self._folder.room_bytes:
            raise OSError(errno.ENOSPC, "No space left on device")
        self._folder.room_bytes -= len(data)
        self.content += data

    def finish(self) -> None:
        """Show the file."""
        assert self.state == "open"
        if self._folder.sealed:
            self.state = "lost"
            raise PermissionError(errno.EACCES, "Permission denied")
        self.state = "finished"

    def discard(self) -> None:
        """Remove the file."""
        assert self.state == "open"
        self.state = "discarded"
