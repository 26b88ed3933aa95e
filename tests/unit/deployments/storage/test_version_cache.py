"""The cache of a node: what is there is used, what is not is fetched once, and nothing in use goes."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path

import pytest

from core.config.model_config import ModelConfig, ModelResources
from core.config.version_policy import Latest
from core.errors import Code, FailedPrecondition, ResourceExhausted, ServingError, Unavailable
from core.storage.store_errors import StorageFailed
from core.storage.version_listing import UNKNOWN, judged
from core.telemetry.metric_names import CACHE_LOOKUPS, FETCH_SECONDS, FETCHED_BYTES
from core.versions.servable import ServableId
from core.versions.servable_spec import ServableSpec
from deployments.inference.assembly import remote_version
from deployments.storage import version_cache
from deployments.storage.version_cache import Lease
from deployments.storage.version_source import VersionSource
from deployments.telemetry.process_metrics import METRICS
from tests.support.stores.cache_node import BASE, FILES, SIZE, Node, contents, counted


@pytest.fixture
def node(tmp_path: Path) -> Node:
    """A node with one version in its store."""
    return Node(tmp_path)


def test_a_version_is_fetched_and_lies_there_alone(node: Node) -> None:
    """Its folder holds the files of the store and nothing else."""
    lease = node.obtain(1)

    assert contents(lease) == FILES
    assert node.names() == ["m-1"]
    assert node.names("fetching") == node.names("trash") == []
    assert node.store.asked["list"] == 2


def test_a_version_in_the_cache_needs_no_store(node: Node) -> None:
    """A model server that starts again works while the store is away."""
    node.obtain(1).release()
    node.store.asked.clear()
    version = node.version(1)
    node.store.failures = [StorageFailed(Code.UNAVAILABLE, "away")] * 9

    lease = node.cache().obtain(version)

    assert contents(lease) == FILES
    assert not node.store.asked


def test_another_content_of_the_same_url_is_another_entry(node: Node) -> None:
    """Whoever uses the first keeps it."""
    first = node.obtain(1)
    node.write(1, **{"saved_model.pb": b"other"})

    second = node.obtain(1)

    assert contents(first) == FILES
    assert contents(second) == {**FILES, "saved_model.pb": b"other"}


def test_what_is_there_now_is_fetched_when_the_listing_is_out_of_date(node: Node) -> None:
    """A version that was replaced after it was chosen; the next one to come with the old listing finds it."""
    old = node.version(1)
    node.write(1, **{"saved_model.pb": b"other"})

    first, second = node.cache().obtain(old), node.cache().obtain(old)

    assert contents(first)["saved_model.pb"] == b"other"
    assert first.path == second.path
    assert node.store.asked["read"] == len(FILES)


def test_a_version_that_changes_while_it_is_fetched_is_fetched_anew(node: Node) -> None:
    """Files of two states must not meet in one folder."""
    changes = iter([b"second state", None, None])

    def change(_: str) -> None:
        content = next(changes, None)
        if content is not None:
            node.write(1, **{"saved_model.pb": content})

    node.store.on_read = change
    lease = node.obtain(1)

    assert contents(lease) == {**FILES, "saved_model.pb": b"second state"}
    assert node.names() == ["m-1"]


def test_a_version_that_never_stops_changing_is_refused(node: Node) -> None:
    """After some rounds; the watcher tries again later."""
    numbers = iter(range(10**6))
    node.store.on_read = lambda _: node.write(1, **{"assets/vocabulary.txt": f"word {next(numbers):9}".encode()})

    with pytest.raises(StorageFailed, match="it changed again and again") as caught:
        node.obtain(1)

    assert caught.value.code is Code.ABORTED
    assert node.names() == []


def test_a_failure_of_a_file_that_vanished_is_a_change(node: Node) -> None:
    """The listing after it shows that the version is another one now."""
    del node.store.contents[f"{BASE}/1/assets/vocabulary.txt"]
    node.store.put_files(f"{BASE}/1", {"assets/old.txt": b"old"})

    def vanish(path: str) -> None:
        if path == "assets/old.txt":
            node.store.contents.pop(f"{BASE}/1/assets/old.txt", None)

    node.store.on_read = vanish

    assert contents(node.obtain(1)) == {"saved_model.pb": FILES["saved_model.pb"]}


def test_a_failing_store_is_a_failed_load_with_its_reason(node: Node) -> None:
    """Nothing appears; the next attempt goes on from what came."""
    version = node.version(1)
    node.store.on_read = lambda path: node.store.failures.append(StorageFailed(Code.PERMISSION_DENIED, "denied"))

    with pytest.raises(StorageFailed, match="denied"):
        node.cache().obtain(version)
    assert node.names() == []
    node.store.on_read = lambda _: None
    node.store.failures.clear()

    assert contents(node.cache().obtain(version)) == FILES


def test_a_version_that_is_not_complete_any_more_is_not_fetched(node: Node) -> None:
    """It may be on its way out."""
    version = node.version(1)
    del node.store.contents[f"{BASE}/1/saved_model.pb"]

    with pytest.raises(FailedPrecondition, match=r"fake://bucket/m/1 is not complete: it waits for saved_model.pb"):
        node.cache().obtain(version)

    assert node.store.asked["read"] == 0


def test_a_version_without_its_marker_is_not_fetched(node: Node) -> None:
    """With it, it is."""
    with pytest.raises(FailedPrecondition, match="waits for the marker file DONE"):
        node.cache().obtain(node.version(1, "DONE"))
    node.write(1, DONE=b"")

    assert "DONE" in contents(node.cache().obtain(node.version(1, "DONE")))


@pytest.mark.parametrize("name", ["../../escaped", "a//b", "assets"])
def test_a_store_cannot_write_outside_of_the_folder(node: Node, tmp_path: Path, name: str) -> None:
    """Names that no folder can hold are refused before anything is fetched."""
    node.write(1, **{name: b"content"})

    with pytest.raises(StorageFailed, match="holds a name that no folder can hold") as caught:
        node.obtain(1)

    assert caught.value.code is Code.INVALID_ARGUMENT
    assert [path.name for path in tmp_path.rglob("escaped")] == []


def truncate(file: Path) -> None:
    os.truncate(file, 3)


def change(file: Path) -> None:
    file.write_bytes(b"GRAPH" * 20)


def add(file: Path) -> None:
    (file.parent / "more").write_bytes(b"")


def lose_manifest(file: Path) -> None:
    (file.parents[1] / "manifest.json").unlink()


def spoil_manifest(file: Path) -> None:
    (file.parents[1] / "manifest.json").write_bytes(b"\xff{")


@pytest.mark.parametrize("harm", [truncate, change, add, os.unlink, lose_manifest, spoil_manifest])
def test_an_entry_that_was_changed_by_hand_is_fetched_anew(node: Node, harm) -> None:
    """Even while somebody uses it, who has read it long ago."""
    user = node.obtain(1)
    harm(Path(user.path) / "saved_model.pb")

    lease = node.obtain(1)

    assert contents(lease) == FILES
    assert node.names("trash") == []


@pytest.mark.parametrize(
    ("number", "kind", "text"),
    [
        (errno.ENOSPC, ResourceExhausted, "The disk of the model cache .* is full: No space left on device"),
        (errno.EDQUOT, ResourceExhausted, "is full: Disk quota exceeded"),
        (errno.EROFS, FailedPrecondition, r"cannot be written \(flag model_cache_dir\)"),
        (errno.EACCES, FailedPrecondition, r"cannot be written \(flag model_cache_dir\)"),
        (errno.EIO, Unavailable, "failed: .*Input/output error"),
    ],
)
def test_what_the_disk_cannot_do_is_said_in_words(node: Node, monkeypatch, number: int, kind, text: str) -> None:
    """With the code that fits; a full disk gets its room back."""

    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(version_cache.VersionFetch, "run", fail)

    with pytest.raises(kind, match=text):
        node.obtain(1)

    assert (node.names("fetching") == []) is (kind is ResourceExhausted)


def test_a_cache_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    """With the name of the flag."""
    node = Node(tmp_path)
    node.folder.write_text("not a folder")

    with pytest.raises(ServingError, match="flag model_cache_dir"):
        node.obtain(1)


def test_a_lease_may_be_given_back_twice(node: Node) -> None:
    """And it tells when the version was used last."""
    lease = node.obtain(1)
    node.age(1, 1000)

    lease.release()
    lease.release()

    (lock,) = (node.folder / "locks").glob("m-1-*.use")
    assert time.time() - lock.stat().st_mtime < 100


def test_a_local_path_needs_no_lock() -> None:
    """Its lease holds nothing."""
    Lease("/models/m/1").release()


def test_fetches_are_counted(node: Node) -> None:
    """Bytes, seconds, hits and misses, for each model."""
    before = counted(FETCHED_BYTES, "m"), counted(CACHE_LOOKUPS, "m", "hit"), counted(CACHE_LOOKUPS, "m", "miss")

    node.obtain(1)
    node.obtain(1)

    after = counted(FETCHED_BYTES, "m"), counted(CACHE_LOOKUPS, "m", "hit"), counted(CACHE_LOOKUPS, "m", "miss")
    assert [now - then for now, then in zip(after, before, strict=True)] == [SIZE, 1, 1]
    assert ("m",) in METRICS.snapshot().distributions[FETCH_SECONDS.name]


def test_a_version_whose_model_lies_deeper_is_fetched_without_the_rest(node: Node) -> None:
    """Its entry is named for the version, and a marker in the version's own folder is not looked for again."""
    files = {"MLmodel": b"flavors", "_SUCCESS": b"", **{f"data/model/{path}": one for path, one in FILES.items()}}
    node.store.put_files(f"{BASE}/7", files)
    resources = ModelResources(marker_file="_SUCCESS")
    model = ModelConfig("m", BASE, resources=resources, version_subpath="data/model")
    listed = VersionSource(node.store).list_versions(BASE, Latest(), model.version_subpath)
    known = judged(listed, UNKNOWN, model, time.time())
    spec = ServableSpec(ServableId("m", 7), listed.versions[7].path, config=model)

    lease = node.cache().obtain(remote_version(spec))

    assert known.listing is not None
    assert 7 in known.listing.versions.keys() - known.waiting.keys()
    assert contents(lease) == FILES
    assert node.names() == ["m-7"]
