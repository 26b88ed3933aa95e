"""Folders of runs: removed at the end, or at the next start when every process was killed at once."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from deployments.launch.run_folder import OWNER, RunFolder, remove_left_folders

OWNING = """
import os
from deployments.launch.run_folder import RunFolder
folder = RunFolder()
(open(f"{folder.path}/session", "w")).close()
child = os.fork()
if child:
    print(folder.path, os.getpid(), child, flush=True)
os.read(0, 1)
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The system's temporary folder."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def folders(below: Path) -> list[str]:
    return sorted(one.name for one in below.iterdir())


def test_a_folder_is_there_until_it_is_removed(folder: Path) -> None:
    """With all that is in it."""
    run = RunFolder()
    Path(run.path, "session").mkdir()
    assert folders(folder) == [Path(run.path).name]

    run.remove()

    assert folders(folder) == []


def test_what_a_killed_run_left_is_removed_by_the_next_one(folder: Path) -> None:
    """Only when its last process is dead: supervisor and server share the lock."""
    command = [sys.executable, "-c", OWNING]
    with subprocess.Popen(
        command, env=os.environ | {"TMPDIR": str(folder)}, stdout=subprocess.PIPE, stdin=subprocess.PIPE
    ) as run:
        assert run.stdout is not None
        path, parent, child = run.stdout.readline().decode().split()
        os.kill(int(parent), 9)
        run.wait(60)
        remove_left_folders()
        is_kept = Path(path, "session").exists()
        os.kill(int(child), 9)
        run.stdout.read()  # until the child is gone, too

    following = RunFolder()

    assert is_kept
    assert folders(folder) == [Path(following.path).name]


def test_folders_of_others_stay(folder: Path) -> None:
    """Those without an owner's file, those that another folder only points to, and those that live."""
    (folder / "rms-other").mkdir()
    (folder / "rms-file").touch()
    (folder / "elsewhere").mkdir()
    (folder / "elsewhere" / OWNER).touch()
    (folder / "rms-link").symlink_to(folder / "elsewhere")
    living = RunFolder()

    remove_left_folders()

    assert folders(folder) == sorted(["elsewhere", "rms-file", "rms-link", "rms-other", Path(living.path).name])
    assert (folder / "elsewhere" / OWNER).exists()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder away")
def test_a_folder_of_another_user_stays(folder: Path) -> None:
    """Its owner's next start removes it."""
    theirs = folder / "rms-theirs"
    theirs.mkdir()
    (theirs / OWNER).touch()
    os.chown(theirs, 12345, 12345)

    remove_left_folders()

    assert (theirs / OWNER).exists()
