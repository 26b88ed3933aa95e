"""Where a version's files lie: at their own place, or in a cache that belongs to this user alone."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import fsspec
import pytest

from core.config.server_settings import ModelCacheSettings
from core.errors import FailedPrecondition
from deployments.storage.version_cache import RemoteVersion
from deployments.storage.version_files import default_folder, local_files


@pytest.fixture
def no_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user whose home cannot be written; gives the folder for temporary files."""
    (tmp_path / "file").write_text("")
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "file" / "home"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    return tmp_path / "tmp"


@pytest.mark.parametrize("path", ["/models/m/1", "file:///models/m/1"])
def test_local_versions_stay_where_they_are(path: str) -> None:
    """Nothing is copied."""
    assert local_files(RemoteVersion(path, "", "m"), ModelCacheSettings()).path == "/models/m/1"


def test_versions_of_a_store_are_fetched(tmp_path: Path) -> None:
    """Any that fsspec knows, into the folder of the settings."""
    store = fsspec.filesystem("memory")
    store.pipe("/models/m/1/saved_model.pb", b"model")
    version = RemoteVersion("memory://models/m/1", "", "m")

    lease = local_files(version, ModelCacheSettings(str(tmp_path / "cache")))

    assert (Path(lease.path) / "saved_model.pb").read_bytes() == b"model"
    assert lease.path.startswith(f"{tmp_path}/cache/entries/m-1-")
    assert (tmp_path / "cache").stat().st_mode & 0o077 == 0
    store.store.clear()


def test_the_users_cache_folder_is_the_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the environment names it, or below the home."""
    monkeypatch.setenv("HOME", str(tmp_path))

    named = default_folder({"XDG_CACHE_HOME": str(tmp_path / "xdg")})
    unnamed = default_folder({})
    relative = default_folder({"XDG_CACHE_HOME": "relative"})

    assert named == tmp_path / "xdg" / "ray_model_server" / "versions"
    assert unnamed == relative == tmp_path / ".cache" / "ray_model_server" / "versions"


def test_without_a_home_the_folder_is_in_that_of_temporary_files(no_home: Path) -> None:
    """Under the number of the user, and for him alone."""
    folder = default_folder({})

    assert folder == no_home / f"ray_model_server-{os.getuid()}" / "versions"
    assert folder.parent.stat().st_mode & 0o077 == 0
    assert default_folder({}) == folder


@pytest.mark.parametrize("kind", ["open", "link"])
def test_a_temporary_folder_that_others_can_write_is_refused(no_home: Path, tmp_path: Path, kind: str) -> None:
    """Whoever can change a model there could run code as this user."""
    own = no_home / f"ray_model_server-{os.getuid()}"
    if kind == "open":
        own.mkdir()
        own.chmod(0o777)
    else:
        (tmp_path / "elsewhere").mkdir()
        own.symlink_to(tmp_path / "elsewhere")

    with pytest.raises(FailedPrecondition, match=r"can be written by others; .* flag model_cache_dir"):
        default_folder({})
