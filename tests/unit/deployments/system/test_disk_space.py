"""A full disk is recognized by its free bytes and by its free files."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from deployments.system.disk_space import LEAST_FREE_BYTES, full_disk

BLOCK = 4096
ENOUGH = LEAST_FREE_BYTES // BLOCK


@pytest.mark.parametrize(
    ("blocks", "files", "free_files", "text"),
    [
        (ENOUGH, 1000, 10, ""),
        (ENOUGH - 1, 1000, 10, f"less than {LEAST_FREE_BYTES} bytes are free"),
        (0, 1000, 10, f"less than {LEAST_FREE_BYTES} bytes are free"),
        (ENOUGH, 1000, 0, "no more files can be made"),
        (ENOUGH, 0, 0, ""),
    ],
)
def test_a_disk_is_full_without_bytes_or_without_files(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, blocks: int, files: int, free_files: int, text: str
) -> None:
    """Some file systems have no table of files; they say that they have none, and none free."""
    seen = SimpleNamespace(f_bavail=blocks, f_frsize=BLOCK, f_files=files, f_favail=free_files)
    monkeypatch.setattr(os, "statvfs", lambda _: seen)

    found = full_disk(tmp_path)

    assert (text in found) if text else (found == "")
    assert (str(tmp_path) in found) is bool(text)


def test_a_folder_that_cannot_be_looked_at_is_not_called_full(tmp_path: Path) -> None:
    """The folder of a session vanishes when Ray ends."""
    assert full_disk(tmp_path / "gone") == ""
