"""What the watcher may expect of a source holds for the real ones and for the fake alike."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import fsspec
import pytest

from core.config.version_policy import Latest
from core.storage.version_listing import Source
from deployments.storage.version_source import VersionSource
from tests.support.extension_packages import install_example, on_path
from tests.support.fakes import FakeSource
from tests.support.stores.object_store import Bucket

FILES = ("saved_model.pb", "variables/variables.index")


class Place(Protocol):
    """Somewhere a base path lies."""

    source: Source
    base_path: str

    def write(self, version: int) -> None:
        """Put a version there."""

    def remove(self, version: int) -> None:
        """Take it away."""


class FakePlace:
    def __init__(self) -> None:
        self.fake = FakeSource()
        self.source: Source = self.fake
        self.base_path = "/m"

    def write(self, version: int) -> None:
        self.fake.write(self.base_path, version, FILES)

    def remove(self, version: int) -> None:
        self.fake.remove(self.base_path, version)


class LocalPlace:
    def __init__(self, folder: Path, scheme: str = "") -> None:
        self.source: Source = VersionSource()
        self.folder = folder / "m"
        self.base_path = f"{scheme}{self.folder}"

    def write(self, version: int) -> None:
        for path in FILES:
            file = self.folder / str(version) / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(b"content")

    def remove(self, version: int) -> None:
        for path in sorted((self.folder / str(version)).rglob("*"), reverse=True):
            path.unlink() if path.is_file() else path.rmdir()
        (self.folder / str(version)).rmdir()


class MemoryPlace:
    def __init__(self) -> None:
        self.store = fsspec.filesystem("memory")
        self.source: Source = VersionSource()
        self.base_path = "memory://contract/m"

    def write(self, version: int) -> None:
        for path in FILES:
            self.store.pipe(f"/contract/m/{version}/{path}", b"content")

    def remove(self, version: int) -> None:
        self.store.rm(f"/contract/m/{version}", recursive=True)


class BucketPlace:
    def __init__(self, bucket: Bucket) -> None:
        self.bucket = bucket
        self.source: Source = VersionSource()
        self.base_path = bucket.url("m")

    def write(self, version: int) -> None:
        self.bucket.put_files(f"m/{version}", dict.fromkeys(FILES, b"content"))

    def remove(self, version: int) -> None:
        for path in FILES:
            self.bucket.delete(f"m/{version}/{path}")


class ZipPlace:
    """The example of a source that a package adds."""

    def __init__(self, folder: Path) -> None:
        self.source: Source = VersionSource()
        self.folder = folder / "inside"
        self.archive = folder / "models.zip"
        self.base_path = f"zip+file://{self.archive}/m"

    def write(self, version: int) -> None:
        for path in FILES:
            file = self.folder / "m" / str(version) / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(b"content")
        self._pack()

    def remove(self, version: int) -> None:
        shutil.rmtree(self.folder / "m" / str(version))
        self._pack()

    def _pack(self) -> None:
        shutil.make_archive(str(self.archive.with_suffix("")), "zip", self.folder)


@pytest.fixture(params=["fake", "local", "file", "memory", "s3", "package"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """One of the sources, with nothing there yet."""
    if request.param == "package":
        (tmp_path / "packages").mkdir()
        install_example(tmp_path / "packages")
        with on_path(tmp_path / "packages"):
            yield ZipPlace(tmp_path)
        return
    if request.param == "s3":
        yield BucketPlace(request.getfixturevalue("bucket"))
        return
    made: dict[str, Place] = {
        "fake": FakePlace(),
        "local": LocalPlace(tmp_path),
        "file": LocalPlace(tmp_path, "file://"),
        "memory": MemoryPlace(),
    }
    yield made[request.param]
    fsspec.filesystem("memory").store.clear()


def test_a_base_path_that_is_not_there_is_an_error(place: Place) -> None:
    """Nothing is raised, and nothing is known."""
    found = place.source.list_versions(place.base_path, Latest())

    assert found.error.partition("; endpoint ")[0] == f"NOT_FOUND: {place.base_path} not found"
    assert not found.versions


def test_versions_come_with_path_and_files(place: Place) -> None:
    """The path is that of the base path, with the name of the directory."""
    place.write(1)
    place.write(12)

    found = place.source.list_versions(place.base_path, Latest())

    assert (found.error, set(found.versions)) == ("", {1, 12})
    assert found.versions[12].path == f"{place.base_path.removeprefix('file://')}/12"
    assert {(one.path, one.size_bytes) for one in found.versions[12].files} == {(path, 7) for path in FILES}


def test_a_second_look_at_the_same_files_is_equal(place: Place) -> None:
    """Or nothing would ever lie still."""
    place.write(1)

    first, second = (place.source.list_versions(place.base_path, Latest()) for _ in range(2))

    assert first == second
    assert first.versions[1].fingerprint == second.versions[1].fingerprint


def test_a_removed_version_is_not_listed(place: Place) -> None:
    """No listing is remembered."""
    place.write(1)
    place.write(2)
    place.source.list_versions(place.base_path, Latest())

    place.remove(2)

    assert set(place.source.list_versions(place.base_path, Latest()).versions) == {1}


def test_a_subpath_leads_to_the_files_of_a_version(place: Place) -> None:
    """With paths from there on; what lies beside it is named, and a version without it has no files."""
    place.write(1)

    inside = place.source.list_versions(place.base_path, Latest(), "variables").versions[1]
    nowhere = place.source.list_versions(place.base_path, Latest(), "data/model").versions[1]

    base_path = place.base_path.removeprefix("file://")
    assert (inside.path, nowhere.path) == (f"{base_path}/1/variables", f"{base_path}/1/data/model")
    assert {one.path for one in inside.files} == {
        path.removeprefix("variables/") for path in FILES if path.startswith("variables/")
    }
    assert inside.beside == {path for path in FILES if not path.startswith("variables/")}
    assert (nowhere.files, nowhere.beside) == (frozenset(), frozenset(FILES))
