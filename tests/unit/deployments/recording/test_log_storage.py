"""Tests of the files of request logs, on a real disk and in fsspec's memory, and of the folder that tests use instead."""

from __future__ import annotations

import errno
import itertools
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import fsspec
import pytest

from core.recording.log_files import UNFINISHED
from deployments.recording.log_storage import LocalLogFile, LogFile, RemoteLogFile, append_whole, open_log_file
from tests.support.log_folder import FakeLogFolder

Site = tuple[Callable[[], LogFile], Callable[[], list[bytes]]]


@pytest.fixture
def memory() -> Iterator[str]:
    """A store in memory."""
    store = fsspec.filesystem("memory")
    yield "memory://logs"
    store.rm("/logs", recursive=True) if store.exists("/logs") else None


@pytest.fixture(params=["local", "remote", "fake"])
def site(request: pytest.FixtureRequest, tmp_path: Path, memory: str) -> Site:
    """What begins files, and what lists those that readers see."""
    if request.param == "fake":
        folder = FakeLogFolder()
        return folder, lambda: folder.finished
    numbers = itertools.count()
    if request.param == "local":
        return lambda: open_log_file(f"{tmp_path}/{next(numbers)}.log"), lambda: [
            file.read_bytes() for file in sorted(tmp_path.glob("*.log"))
        ]
    return lambda: open_log_file(f"{memory}/{next(numbers)}.log"), lambda: [
        fsspec.filesystem("memory").cat_file(name) for name in sorted(fsspec.filesystem("memory").glob("/logs/*.log"))
    ]


def test_readers_see_finished_files_only(site: Site) -> None:
    """A file appears at once, and whole."""
    begin, seen = site
    file = begin()
    file.append(b"one")
    file.append(b"two")
    assert seen() == []

    file.finish()

    assert seen() == [b"onetwo"]


def test_a_discarded_file_is_never_seen(site: Site) -> None:
    """It leaves nothing behind."""
    begin, seen = site
    file = begin()

    file.discard()

    assert seen() == []


def test_what_was_added_is_with_the_operating_system(tmp_path: Path) -> None:
    """Whoever kills this process, the bytes are there."""
    file = LocalLogFile(f"{tmp_path}/a.log")
    file.append(b"one")

    assert (tmp_path / f"a.log{UNFINISHED}").read_bytes() == b"one"
    file.discard()
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_there_is_not_written_over(tmp_path: Path) -> None:
    """Names are unique; if one is not, nothing is lost."""
    LocalLogFile(f"{tmp_path}/a.log").append(b"one")

    with pytest.raises(FileExistsError):
        LocalLogFile(f"{tmp_path}/a.log")


@pytest.mark.parametrize("prefix", ["", "file://"])
def test_a_missing_folder_is_an_error_and_is_not_made(tmp_path: Path, prefix: str) -> None:
    """A disk that is not mounted must not fill the one below it."""
    with pytest.raises(FileNotFoundError):
        open_log_file(f"{prefix}{tmp_path}/missing/a.log")

    assert not (tmp_path / "missing").exists()


def test_a_store_that_refuses_is_an_error_of_the_operating_system(tmp_path: Path) -> None:
    """Each store has errors of its own; the writer knows one kind."""
    file = RemoteLogFile("nosuchscheme://bucket/a.log")
    file.append(b"one")

    with pytest.raises(OSError, match=r"^nosuchscheme://bucket/a\.log cannot be written: "):
        file.finish()


class HalfFull:
    """A raw file with room for some bytes; writes are cut as the operating system may cut them."""

    def __init__(self, room: int) -> None:
        self.content = bytearray()
        self.room = room

    def tell(self) -> int:
        return len(self.content)

    def write(self, data: bytes) -> int:
        taken = bytes(data[: min(3, self.room)])
        if not taken:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.room -= len(taken)
        self.content += taken
        return len(taken)

    def seek(self, position: int) -> None:
        self.position = position

    def truncate(self) -> None:
        del self.content[self.position :]


def test_short_writes_go_on() -> None:
    """A write may take only a part."""
    file = HalfFull(100)

    append_whole(file, b"0123456789")

    assert file.content == b"0123456789"


def test_a_record_is_in_the_file_whole_or_not_at_all() -> None:
    """What did fit before the disk was full is taken back."""
    file = HalfFull(10)
    append_whole(file, b"first")

    with pytest.raises(OSError, match="No space left on device"):
        append_whole(file, b"second")

    assert file.content == b"first"


WRITE_BEYOND_THE_LIMIT = """
import signal, sys
from deployments.recording.log_storage import LocalLogFile
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
file = LocalLogFile(sys.argv[1])
file.append(b"x" * 4000)
try:
    file.append(b"y" * 4000)
except OSError as error:
    print(error.errno)
file.finish()
"""


def test_a_real_file_that_cannot_grow_keeps_its_records(tmp_path: Path) -> None:
    """A limit of the operating system stands in for a full disk."""
    done = subprocess.run(
        # -B: under the limit Python would leave byte code cut off, which no later process could import.
        [sys.executable, "-B", "-c", WRITE_BEYOND_THE_LIMIT, f"{tmp_path}/a.log"],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (6000, 6000)),
        capture_output=True,
        text=True,
        check=True,
        cwd=os.getcwd(),
    )

    assert done.stdout.strip() == str(errno.EFBIG)
    assert (tmp_path / "a.log").read_bytes() == b"x" * 4000
