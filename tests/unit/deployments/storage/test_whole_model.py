"""Whether a version on a local disk is a whole SavedModel."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from core.config.version_policy import Latest
from core.storage import whole_saved_model
from deployments.storage import whole_model
from deployments.storage.version_source import VersionSource
from deployments.storage.whole_model import is_whole
from tests.support.zoo_models import zoo_folder


@pytest.fixture
def version(tmp_path: Path) -> Path:
    """A whole version."""
    return shutil.copytree(zoo_folder("tf_sharded", 1), tmp_path / "m" / "1")


def seen(version: Path) -> bool:
    """Whether a version is whole, as it is listed now."""
    return is_whole(VersionSource().list_versions(str(version.parent), Latest()).versions[1])


def test_a_whole_version_is_whole_until_a_byte_is_missing(version: Path) -> None:
    """Of its model, of its index or of a file of its variables."""
    assert seen(version)
    for path in (one for one in version.rglob("*") if one.is_file() and one.name != "fingerprint.pb"):
        content = path.read_bytes()
        path.write_bytes(content[:-1])
        assert not seen(version), path
        path.write_bytes(content)
    assert seen(version)


def test_a_file_that_goes_after_the_listing_is_not_whole(version: Path) -> None:
    """It is looked at again."""
    listed = VersionSource().list_versions(str(version.parent), Latest()).versions[1]
    (version / "variables" / "variables.index").unlink()

    assert not is_whole(listed)


@pytest.mark.parametrize("name", ["saved_model.pb", "variables/variables.index"])
def test_a_pipe_is_not_read(version: Path, name: str) -> None:
    """Nobody might ever write into it."""
    (version / name).unlink()
    os.mkfifo(version / name)

    assert not seen(version)


def test_a_large_index_is_left_to_a_second_look(version: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading it would take longer than that."""
    size = (version / whole_saved_model.INDEX).stat().st_size
    monkeypatch.setattr(whole_model, "MOST_INDEX_BYTES", size)
    assert seen(version)

    monkeypatch.setattr(whole_model, "MOST_INDEX_BYTES", size - 1)
    assert not seen(version)
