"""The cache of a node: what is there is used, what is not is fetched once, and nothing in use goes."""

from __future__ import annotations

import errno
import os
import shutil
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from core.errors import Code, FailedPrecondition, ResourceExhausted, ServingError, Unavailable
from core.storage.fetch_plan import RetryPolicy
from core.storage.store_errors import StorageFailed
from core.storage.version_listing import VersionDirectory
from core.telemetry.metric_names import CACHE_EVICTIONS, CACHE_LOOKUPS, FETCH_SECONDS, FETCHED_BYTES
from deployments.storage import cache_room, version_cache
from deployments.storage.version_cache import Lease, ModelCache, RemoteVersion
from deployments.system.file_lock import FileLock
from deployments.telemetry.process_metrics import METRICS
from tests.support.fake_store import FakeStore

FILES: Mapping[str, bytes] = {"saved_model.pb": b"graph" * 20, "assets/vocabulary.txt": b"word\n"}
SIZE = sum(map(len, FILES.values()))
BASE = "fake://bucket/m"


class FakeDisk:
    """A disk that says of itself what the test wants; implements `deployments.storage.cache_room.Disk`."""

    def __init__(self, free_bytes: int = 10**12, total_bytes: int = 10**12) -> None:
        self.free, self.total = free_bytes, total_bytes

    def free_bytes(self, folder: Path) -> int:
        return self.free

    def total_bytes(self, folder: Path) -> int:
        return self.total


class Node:
    """A cache folder, and a store with versions."""

    def __init__(self, folder: Path, versions: int = 1, max_bytes: int = 10**9) -> None:
        self.folder = folder / "cache"
        self.store = FakeStore()
        self.disk = FakeDisk()
        self.max_bytes = max_bytes
        for number in range(1, versions + 1):
            self.write(number)

    def write(self, version: int, **more: bytes) -> None:
        """Put a version into the store; every one is of the same size."""
        self.store.put_files(f"{BASE}/{version}", {**FILES, **more})

    def version(self, number: int, marker_file: str = "") -> RemoteVersion:
        """Describe a version as the watcher does, by a listing."""
        url = f"{BASE}/{number}"
        files = {path: one for path, one in self.store.contents.items() if path.startswith(f"{url}/")}
        listed = FakeStore(files).list_files(url).values()
        return RemoteVersion(url, VersionDirectory(url, frozenset(listed)).fingerprint, "m", marker_file)

    def cache(self) -> ModelCache:
        """Open the cache as a model server does."""
        patience = RetryPolicy(3, 0.001, 0.002)
        return ModelCache(self.folder, self.max_bytes, self.store, disk=self.disk, patience=patience)

    def obtain(self, number: int) -> Lease:
        """Obtain a version as a model server does."""
        return self.cache().obtain(self.version(number))

    def names(self, kind: str = "entries") -> list[str]:
        """Return what lies in a part of the folder, by model and version."""
        return sorted(name.rpartition("-")[0] for name in os.listdir(self.folder / kind))


@pytest.fixture
def node(tmp_path: Path) -> Node:
    """A node with one version in its store."""
    return Node(tmp_path)


def contents(lease: Lease) -> dict[str, bytes]:
    """Return the files of a version on the disk."""
    folder = Path(lease.path)
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def counted(metric, *labels: str) -> float:
    """Return the number of a counter."""
    return METRICS.snapshot().counters.get(metric.name, {}).get(labels, 0)


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


def test_the_longest_unused_version_makes_room(tmp_path: Path) -> None:
    """The limit holds at every moment; a version in use stays."""
    node = Node(tmp_path, versions=4, max_bytes=2 * SIZE)
    node.obtain(1).release()
    node.obtain(2).release()
    age(node, 1, 100)
    age(node, 2, 200)
    assert node.obtain(1).path
    before = counted(CACHE_EVICTIONS)

    node.obtain(3)

    assert node.names() == ["m-1", "m-3"]
    assert counted(CACHE_EVICTIONS) == before + 1


def age(node: Node, version: int, seconds: float) -> None:
    """Let a version be unused for so long."""
    (lock,) = (node.folder / "locks").glob(f"m-{version}-*.use")
    os.utime(lock, (time.time() - seconds,) * 2)


def test_without_room_the_version_is_refused_and_the_others_stay(tmp_path: Path) -> None:
    """The old version goes on serving; when it is gone, there is room."""
    node = Node(tmp_path, versions=3, max_bytes=2 * SIZE)
    leases = [node.obtain(1), node.obtain(2)]

    with pytest.raises(ResourceExhausted, match=f"running versions hold {2 * SIZE} of {2 * SIZE} bytes"):
        node.obtain(3)
    assert all(contents(lease) == FILES for lease in leases)
    leases[0].release()

    assert contents(node.obtain(3)) == FILES
    assert node.names() == ["m-2", "m-3"]


def test_a_full_disk_is_noticed_before_anything_is_fetched(node: Node) -> None:
    """The text says what is missing, and it is tried again."""
    node.disk.free = SIZE - 1

    with pytest.raises(ResourceExhausted, match=f"no room for a version of {SIZE} bytes: {SIZE - 1} bytes are free"):
        node.obtain(1)
    assert node.store.asked["read"] == 0
    node.disk.free = SIZE

    assert contents(node.obtain(1)) == FILES


def test_the_limit_is_half_of_the_disk_unless_it_is_given(tmp_path: Path) -> None:
    """The rest is for others."""
    node = Node(tmp_path, max_bytes=0)
    node.disk.total = 2 * SIZE - 2

    with pytest.raises(ResourceExhausted, match=f"of {SIZE - 1} bytes"):
        node.obtain(1)
    node.disk.total = 2 * SIZE

    assert node.obtain(1).path


def begin(node: Node, version: int, *, alive: bool) -> FileLock | None:
    """Leave the rest of a fetch, with a living process that works on it or not."""
    node.store.on_read = lambda _: node.store.failures.append(StorageFailed(Code.PERMISSION_DENIED, "cut"))
    with pytest.raises(StorageFailed):
        node.obtain(version)
    node.store.on_read = lambda _: None
    node.store.failures.clear()
    (fetch,) = (node.folder / "fetching").glob(f"m-{version}-*")
    (fetch / "files" / "large").write_bytes(b"x" * SIZE)
    lock = FileLock.take(node.folder / "locks" / f"{fetch.name}.fetch")
    if not alive:
        lock.release()
    return lock


def test_the_rest_of_a_fetch_makes_room_when_it_is_needed(tmp_path: Path) -> None:
    """Nobody works on it any more."""
    node = Node(tmp_path, versions=2, max_bytes=SIZE)
    begin(node, 1, alive=False)

    assert contents(node.obtain(2)) == FILES
    assert node.names("fetching") == []


def test_a_fetch_under_way_keeps_what_it_reserved(tmp_path: Path) -> None:
    """Two fetches at a time must not fill the cache beyond its limit."""
    node = Node(tmp_path, versions=2, max_bytes=2 * SIZE - 1)
    lock = begin(node, 1, alive=True)
    (fetch,) = (node.folder / "fetching").glob("m-1-*")
    shutil.rmtree(fetch / "files")

    with pytest.raises(ResourceExhausted):
        node.obtain(2)

    assert lock is not None
    lock.release()


def test_a_disk_counts_what_other_fetches_will_still_write(tmp_path: Path) -> None:
    """They reserved it, and have not written it yet."""
    node = Node(tmp_path, versions=2)
    lock = begin(node, 1, alive=True)
    (fetch,) = (node.folder / "fetching").glob("m-1-*")
    shutil.rmtree(fetch / "files")
    node.disk.free = 2 * SIZE - 50

    with pytest.raises(ResourceExhausted, match="disk of the model cache"):
        node.obtain(2)

    assert lock is not None
    lock.release()


def test_the_rest_of_an_old_fetch_is_deleted(tmp_path: Path) -> None:
    """Its version may never come again. One of today is kept."""
    node = Node(tmp_path, versions=3)
    begin(node, 1, alive=False)
    begin(node, 2, alive=False)
    (lock,) = (node.folder / "locks").glob("m-1-*.fetch")
    os.utime(lock, (time.time() - cache_room.LEFTOVER_S - 60,) * 2)

    node.obtain(3)

    assert node.names("fetching") == ["m-2"]


def test_trash_and_locks_of_things_that_are_gone_are_swept_away(node: Node) -> None:
    """A process may be killed while it deletes."""
    for name in ("entries", "fetching", "locks", "trash"):
        (node.folder / name).mkdir(parents=True, exist_ok=True)
    (node.folder / "trash" / "m-9-1" / "files").mkdir(parents=True)
    (node.folder / "locks" / "m-9-1.use").touch()
    (node.folder / "locks" / "m-9-2.fetch").touch()
    (node.folder / "locks" / "m-8-1.use").touch()
    used = FileLock.take(node.folder / "locks" / "m-8-1.use", shared=True)

    node.obtain(1)

    left = {path.name.partition("-")[2].partition("-")[0] for path in (node.folder / "locks").glob("m-*")}
    assert left == {"1", "8"}
    assert os.listdir(node.folder / "trash") == []
    used.release()


def test_an_entry_that_somebody_begins_to_use_is_not_evicted(tmp_path: Path, monkeypatch) -> None:
    """Between the decision and the deed."""
    node = Node(tmp_path, versions=2, max_bytes=SIZE)
    node.obtain(1).release()
    taken: list[Lease] = []
    decide = cache_room.victims

    def decide_and_dawdle(*arguments):
        chosen = decide(*arguments)
        taken.append(node.obtain(1))
        return chosen

    monkeypatch.setattr(cache_room, "victims", decide_and_dawdle)

    with pytest.raises(ResourceExhausted):
        node.obtain(2)

    assert contents(taken[0]) == FILES


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
    age(node, 1, 1000)

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
