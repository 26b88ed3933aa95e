"""Room in the cache of a node: what is in use stays, and what nobody uses goes for what is needed."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest

from core.errors import Code, ResourceExhausted
from core.storage.store_errors import StorageFailed
from core.telemetry.metric_names import CACHE_EVICTIONS
from deployments.storage import cache_room
from deployments.storage.version_cache import Lease
from deployments.system.file_lock import FileLock
from tests.support.stores.cache_node import FILES, SIZE, Node, contents, counted


@pytest.fixture
def node(tmp_path: Path) -> Node:
    """A node with one version in its store."""
    return Node(tmp_path)


def test_the_longest_unused_version_makes_room(tmp_path: Path) -> None:
    """The limit holds at every moment; a version in use stays."""
    node = Node(tmp_path, versions=4, max_bytes=2 * SIZE)
    node.obtain(1).release()
    node.obtain(2).release()
    node.age(1, 100)
    node.age(2, 200)
    assert node.obtain(1).path
    before = counted(CACHE_EVICTIONS)

    node.obtain(3)

    assert node.names() == ["m-1", "m-3"]
    assert counted(CACHE_EVICTIONS) == before + 1


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
