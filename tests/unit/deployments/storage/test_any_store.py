"""Stores of packages behave as those of fsspec do, whatever the package answers."""

from __future__ import annotations

import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest

from core.config.server_settings import ModelCacheSettings
from core.config.version_policy import Latest
from core.errors import Code, ConfigError
from core.storage.checksums import StoredChecksums
from core.storage.retry_policy import RetryPolicy
from core.storage.store_errors import StorageFailed
from core.storage.version_listing import FileEntry
from deployments.config.files import read_text
from deployments.storage.any_store import AnyStore, PackageStore
from deployments.storage.remote_store import RetryingStore
from deployments.storage.version_cache import RemoteVersion
from deployments.storage.version_files import local_files
from deployments.storage.version_source import VersionSource
from tests.support.extension_packages import EXAMPLE_MODULE, install, install_example, on_path

URL = "odd://place/m"
FILE = {"1/f": FileEntry("1/f", 3, etag="a")}


class OddSource:
    """Answers what the test says; an exception is raised."""

    def __init__(self, **answers: object) -> None:
        self.answers = {"list_files": FILE, "read": b"abc", "checksums": StoredChecksums(), **answers}
        self.calls = 0

    def _answer(self, name: str) -> Any:
        self.calls += 1
        answer = self.answers[name]
        if isinstance(answer, list):
            answer = answer.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def list_files(self, url: str) -> Any:
        return self._answer("list_files")

    def read(self, url: str, path: str, start: int, end: int) -> Any:
        return self._answer("read")

    def checksums(self, url: str, path: str) -> Any:
        return self._answer("checksums")


def store_of(**answers: object) -> PackageStore:
    return PackageStore("odd", lambda: OddSource(**answers))


def failure(ask: Callable[[], object]) -> StorageFailed:
    with pytest.raises(StorageFailed) as caught:
        ask()
    return caught.value


@pytest.mark.parametrize(
    ("error", "code", "passes", "text"),
    [
        (FileNotFoundError("x"), Code.NOT_FOUND, False, f"{URL} not found"),
        (PermissionError("x"), Code.PERMISSION_DENIED, False, f"{URL}: access is denied"),
        (NotADirectoryError("x"), Code.FAILED_PRECONDITION, False, f"{URL}: not a directory"),
        (ConnectionResetError("x"), Code.UNAVAILABLE, True, f"{URL}: the connection to the store broke"),
        (TimeoutError("x"), Code.UNAVAILABLE, True, f"{URL}: the store does not answer in time"),
        (KeyError("seven"), Code.UNAVAILABLE, True, f"{URL}: KeyError: 'seven'"),
        (StorageFailed(Code.ABORTED, "its own"), Code.ABORTED, False, "its own"),
    ],
)
def test_errors_of_a_source_become_ours(error: Exception, code: Code, passes: object, text: str) -> None:
    """The same texts and the same retries as for any store."""
    failed = failure(lambda: store_of(list_files=error).list_files(URL))

    assert (failed.code, failed.passes, str(failed)) == (code, passes, text)


@pytest.mark.parametrize(
    "answer",
    [None, ["1/f"], {"1/f": 3}, {1: FILE["1/f"]}, {"1/f": FileEntry("1/f", "3")}, {"1/f": FileEntry("1/f", None)}],
)
def test_a_listing_of_another_form_is_an_error_that_stays(answer: object) -> None:
    """A retry would not help, and nothing behind the store need check it again."""
    failed = failure(lambda: store_of(list_files=answer).list_files(URL))

    assert (failed.code, failed.passes) == (Code.INTERNAL, False)
    assert str(failed).startswith(f"{URL}: source odd: list_files returned something else than FileEntry")


def test_a_listing_is_known_by_its_paths() -> None:
    """The path in an entry cannot differ from its key."""
    found = store_of(list_files={"1/f": FileEntry("elsewhere", 3)}).list_files(URL)

    assert found == {"1/f": FileEntry("1/f", 3)}


@pytest.mark.parametrize("data", [b"ab", b"abcd", b""])
def test_bytes_that_are_too_few_or_too_many_are_asked_for_again(data: bytes) -> None:
    """As when a connection breaks."""
    failed = failure(lambda: store_of(read=data).read(URL, "1/f", 0, 3))

    assert (failed.code, failed.passes) == (Code.UNAVAILABLE, True)


@pytest.mark.parametrize("data", ["abc", None, [97, 98, 99]])
def test_something_else_than_bytes_is_refused(data: object) -> None:
    """It cannot be written to a file."""
    failed = failure(lambda: store_of(read=data).read(URL, "1/f", 0, 3))

    assert (failed.code, failed.passes) == (Code.INTERNAL, False)


def test_bytes_may_be_of_any_kind() -> None:
    """A view of a buffer is copied."""
    assert store_of(read=memoryview(b"abc")).read(URL, "1/f", 0, 3) == b"abc"


def test_other_checksums_are_refused() -> None:
    """None would say that there are none."""
    failed = failure(lambda: store_of(checksums=None).checksums(URL, "1/f"))

    assert str(failed) == f"{URL}: source odd: checksums returned a NoneType, not StoredChecksums"


def test_a_source_that_cannot_be_opened_is_opened_again() -> None:
    """Its first failure is not kept."""
    opened = iter([OSError("no key file"), OddSource()])

    def opens() -> OddSource:
        one = next(opened)
        if isinstance(one, Exception):
            raise one
        return one

    store = PackageStore("odd", opens)

    assert str(failure(lambda: store.list_files(URL))) == f"{URL}: OSError: no key file"
    assert store.list_files(URL) == FILE
    assert store.read(URL, "1/f", 0, 3) == b"abc"


def test_failures_that_pass_are_retried() -> None:
    """The store of a package stands behind the same retries."""
    answers = [TimeoutError("x"), KeyError("x"), FILE]
    store = RetryingStore(store_of(list_files=answers), RetryPolicy(attempts=3), lambda _: None)

    assert store.list_files(URL) == FILE
    assert answers == []


def test_a_small_file_is_read_whole_once_for_each_state() -> None:
    """Configuration files are polled."""
    store = store_of(list_files={"s.yaml": FileEntry("s.yaml", 3, etag="a")})

    first = store.read_whole("odd://place/s.yaml", 10)

    assert first is not None
    assert first.content == b"abc"
    assert store.read_whole("odd://place/s.yaml", 10, first.state) is None
    assert failure(lambda: store.read_whole("odd://place/s.yaml", 2)).code is Code.RESOURCE_EXHAUSTED
    assert failure(lambda: store.read_whole("odd://place/t.yaml", 9)).code is Code.NOT_FOUND


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[str]:
    """The URL of a zip file with two versions and a settings file, read by the example's source."""
    (tmp_path / "packages").mkdir()
    install_example(tmp_path / "packages")
    install(tmp_path / "packages", "broken", {"sources": {"odd": "no_such_module:X"}})
    with zipfile.ZipFile(tmp_path / "models.zip", "w", zipfile.ZIP_DEFLATED) as file:
        for path in ("m/1/saved_model.pb", "m/2/saved_model.pb", "m/2/assets/labels.txt"):
            file.writestr(path, path * 1000)
        file.writestr("s.yaml", "models: {}\n")
    with on_path(tmp_path / "packages"):
        yield f"zip+file://{tmp_path}/models.zip"


def test_versions_of_a_source_are_listed(archive: str) -> None:
    """Below a base path, as for any store."""
    found = VersionSource().list_versions(f"{archive}/m", Latest())

    assert (found.error, set(found.versions)) == ("", {1, 2})
    assert found.versions[2].path == f"{archive}/m/2"


def test_a_version_of_a_source_is_fetched_into_the_cache(archive: str, tmp_path: Path) -> None:
    """In pieces, verified by the source's checksum; a second use asks for nothing."""
    listed = VersionSource().list_versions(f"{archive}/m", Latest()).versions[2]
    settings = ModelCacheSettings(str(tmp_path / "cache"))

    lease = local_files(RemoteVersion(listed.path, listed.fingerprint, "m"), settings)
    (tmp_path / "models.zip").unlink()
    again = local_files(RemoteVersion(listed.path, listed.fingerprint, "m"), settings)

    assert Path(lease.path, "assets/labels.txt").read_text() == "m/2/assets/labels.txt" * 1000
    assert again.path == lease.path


def test_configuration_files_are_read_from_a_source(archive: str) -> None:
    """They may lie where base paths may."""
    assert read_text(f"{archive}/s.yaml") == "models: {}\n"
    with pytest.raises(ConfigError, match="not found"):
        read_text(f"{archive}/t.yaml")


def test_what_is_not_in_a_source_is_not_found(archive: str) -> None:
    """The text is that of every store."""
    found = VersionSource().list_versions(f"{archive}/n", Latest())

    assert found.error == f"NOT_FOUND: {archive}/n not found"


def test_a_broken_source_is_a_problem_of_its_models_alone(archive: str) -> None:
    """The listing says why, without retries."""
    found = VersionSource().list_versions("odd://x/m", Latest())

    assert found.error.startswith(
        "FAILED_PRECONDITION: odd://x/m: there is no source for odd:// now: package broken 1.0"
    )


def test_a_scheme_of_nobody_is_fsspecs_to_refuse(archive: str) -> None:
    """Its text lists the known ones."""
    assert failure(lambda: AnyStore().list_files("nowhere://x/m")).code is Code.INVALID_ARGUMENT


def test_urls_of_fsspec_import_no_source(archive: str) -> None:
    """A server whose base paths are elsewhere runs no code of the package."""
    fsspec.filesystem("memory").pipe("/any/m/1/f", b"abc")

    assert AnyStore().read("memory://any/m/1", "f", 0, 3) == b"abc"
    assert [name for name in sys.modules if name.startswith(EXAMPLE_MODULE)] == []
    fsspec.filesystem("memory").store.clear()
