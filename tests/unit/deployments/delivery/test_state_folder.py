"""Tests of the folder of states; the same rules hold on this machine and in a store."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.storage.store_errors import StorageFailed
from deployments.delivery import state_folder
from deployments.delivery.state_folder import LocalFolder, StateFolder, StoreFolder
from deployments.delivery.state_folder import state_folder as folder_at


@pytest.fixture(params=["local", "file URL", "memory"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> StateFolder:
    """Return an empty folder of each kind."""
    places = {
        "local": str(tmp_path / "a" / "b"),
        "file URL": f"file://{tmp_path}/c",
        "memory": f"memory://{tmp_path.name}/states/",
    }
    return folder_at(places[request.param])


def test_urls_are_of_stores_and_paths_of_this_machine(tmp_path: Path) -> None:
    """Nothing is opened for that."""
    assert isinstance(folder_at("s3://bucket/states"), StoreFolder)
    assert isinstance(folder_at(str(tmp_path)), LocalFolder)
    assert isinstance(folder_at("file:///states"), LocalFolder)


def test_a_folder_that_is_not_there_is_empty(folder: StateFolder) -> None:
    """It comes with the first file."""
    assert folder.names() == frozenset()

    folder.write("m.json", b"{}")

    assert folder.names() == {"m.json"}


def test_what_is_written_is_read_until_it_is_written_again(folder: StateFolder) -> None:
    """Also text that is not ASCII."""
    folder.write("m.json", "é".encode())
    folder.write("m.json", b"second")

    assert folder.read("m.json") == b"second"
    assert folder.names() == {"m.json"}


def test_a_file_can_be_set_aside_and_removed(folder: StateFolder) -> None:
    """Removing what is not there is no error."""
    folder.write("m.json", b"1")
    folder.rename("m.json", "m.json.kept")
    assert folder.names() == {"m.json.kept"}
    assert folder.read("m.json.kept") == b"1"

    folder.remove("m.json.kept")
    folder.remove("m.json.kept")

    assert folder.names() == frozenset()


def test_what_is_not_there_cannot_be_read(folder: StateFolder) -> None:
    """The error is one of a store."""
    folder.write("other.json", b"1")

    with pytest.raises(StorageFailed):
        folder.read("m.json")


def test_a_large_file_is_not_read(folder: StateFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is somebody else's."""
    monkeypatch.setattr(state_folder, "LARGEST_BYTES", 3)
    folder.write("m.json", b"1234")

    with pytest.raises(StorageFailed, match="larger than 3 bytes"):
        folder.read("m.json")


def test_a_file_that_was_never_finished_is_none(tmp_path: Path) -> None:
    """The process ended while it wrote."""
    folder = LocalFolder(tmp_path)
    (tmp_path / "m.json.unfinished").write_bytes(b"{")

    assert folder.names() == frozenset()


def test_a_folder_that_cannot_be_written_to_says_so(tmp_path: Path) -> None:
    """With the place and the reason."""
    (tmp_path / "file").write_bytes(b"")

    with pytest.raises(StorageFailed, match=r"file/m\.json"):
        LocalFolder(tmp_path / "file").write("m.json", b"")


def test_an_unknown_store_is_an_error_of_storage() -> None:
    """Not one of fsspec's many."""
    with pytest.raises(StorageFailed):
        folder_at("nostore://bucket").names()
