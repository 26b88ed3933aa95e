"""The folders in which a model's versions can appear or become complete."""

from __future__ import annotations

import pytest

from core.storage.followed_folders import followed_folders
from core.storage.version_listing import UNKNOWN, Judged, VersionDirectory, VersionListing

FOUND = VersionListing({1: VersionDirectory("/m/1"), 2: VersionDirectory("/m/02")})


def test_a_base_path_is_followed_for_versions_alone() -> None:
    """What else is written there concerns nobody."""
    folders = followed_folders("/m", UNKNOWN, is_there=True)

    assert [name for name in ("1", "002", "-1", "1.tmp", "log") if folders["/m"](name)] == ["1", "002"]


def test_an_unfinished_version_is_followed_for_any_file() -> None:
    """Its marker may come long after the rest; complete ones are left alone."""
    folders = followed_folders("/m", Judged(found=FOUND, waiting={2: "waits", 3: "is missing"}), is_there=True)

    assert set(folders) == {"/", "/m", "/m/02"}
    assert folders["/m/02"]("_SUCCESS")


@pytest.mark.parametrize(
    ("base_path", "folder"),
    [("/models/m", "/models"), ("/models/m/", "/models"), ("/m", "/"), ("m", "."), ("models/m", "models")],
)
def test_a_base_path_that_is_not_there_is_awaited_above(base_path: str, folder: str) -> None:
    """By its own name, and no other."""
    folders = followed_folders(base_path, Judged(found=FOUND, waiting={2: "waits"}), is_there=False)

    assert set(folders) == {folder}
    assert folders[folder]("m")
    assert not folders[folder]("other")


@pytest.mark.parametrize(("base_path", "folder"), [("/models/m", "/models"), ("/models/m/", "/models"), ("m", ".")])
def test_a_base_path_that_is_there_is_followed_above_too(base_path: str, folder: str) -> None:
    """It may be a link that is set to another folder, of which the one it led to tells nothing."""
    folders = followed_folders(base_path, UNKNOWN, is_there=True)

    assert set(folders) == {folder, base_path}
    assert [name for name in ("m", "1", "other") if folders[folder](name)] == ["m"]


def test_an_unfinished_version_is_followed_down_to_its_model() -> None:
    """Each folder on the way may be the one that is still to come."""
    deeper = VersionListing({1: VersionDirectory("/m/1/data/model"), 2: VersionDirectory("/m/02/data/model")})
    folders = followed_folders("/m", Judged(found=deeper, waiting={2: "waits"}), is_there=True, subpath="data/model")

    assert set(folders) == {"/", "/m", "/m/02", "/m/02/data", "/m/02/data/model"}
    assert folders["/m/02"]("data")
