"""Temporary files have a place also where the root is read-only and nothing is mounted on `/tmp`."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from core.container.object_store_place import OBJECT_STORE_BYTES
from deployments.container import folders
from deployments.container.folders import place_of_objects, provide_temporary_folder


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine on which no usual folder can be written."""
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: ["/proc/nothing"])


def test_a_usual_folder_is_left_alone() -> None:
    """Nothing is set, nothing is said."""
    environment: dict[str, str] = {}

    assert (provide_temporary_folder(environment), environment) == ("", {})


@pytest.mark.usefixtures("nowhere")
def test_shared_memory_takes_the_place_of_a_missing_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """For this process and all that it starts: every container has it, and may write there."""
    monkeypatch.setattr(folders, "SHARED_MEMORY", str(tmp_path))
    environment: dict[str, str] = {}

    warning = provide_temporary_folder(environment)

    assert warning == f"No folder for temporary files can be written: they are below {tmp_path}. Mount one on /tmp."
    assert (environment, tempfile.gettempdir()) == ({"TMPDIR": str(tmp_path)}, str(tmp_path))


@pytest.mark.usefixtures("nowhere")
def test_where_nothing_can_be_written_the_error_is_that_of_the_first_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """It names the folders that were tried, and what to set."""
    monkeypatch.setattr(folders, "SHARED_MEMORY", "/proc/nothing")
    environment: dict[str, str] = {}

    assert (provide_temporary_folder(environment), environment) == ("", {})
    with pytest.raises(FileNotFoundError, match="No usable temporary directory"):
        tempfile.mkdtemp()


def test_a_folder_that_is_not_there_has_no_room(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Some sandboxes have no `/dev/shm`."""
    monkeypatch.setattr(folders, "SHARED_MEMORY", str(tmp_path / "absent"))

    place = place_of_objects(str(tmp_path))

    assert (place.folder, place.size_bytes, place.warning) == (str(tmp_path), OBJECT_STORE_BYTES, "")
