"""The files of a version come from a real S3, whatever it does on the way."""

from __future__ import annotations

import base64
import logging
import os
import threading
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path

import pytest

from core.errors import Code
from core.storage import fetch_plan
from core.storage.checksums import crc64nvme
from core.storage.fetch_plan import CHUNK_BYTES, FinishedFile, identity
from core.storage.retry_policy import RetryPolicy
from core.storage.store_errors import StorageFailed
from core.storage.version_listing import DirectoryFiles, FileEntry
from deployments.storage import version_fetch
from deployments.storage.remote_store import FsspecStore, RemoteStore
from deployments.storage.version_fetch import Progress, VersionFetch
from tests.support.stores.fake_store import FakeStore
from tests.support.stores.fault_proxy import cut, edited, fails, garbled, with_headers
from tests.support.stores.object_store import Bucket

QUICK = RetryPolicy(attempts=4, first_pause_s=0.001, longest_pause_s=0.01)
FILES: Mapping[str, bytes] = {
    "saved_model.pb": b"graph" * 100,
    "variables/variables.index": b"index",
    "variables/variables.data-00000-of-00001": bytes(range(256)) * 40,
    "assets/empty.txt": b"",
}
URL = "fake://b/m/1"


def listed(store: RemoteStore, url: str) -> DirectoryFiles:
    """Return the files that should come."""
    return frozenset(store.list_files(url).values())


def fetch(store: RemoteStore, url: str, folder: Path, files: DirectoryFiles | None = None) -> Progress:
    """Fetch once."""
    wanted = listed(store, url) if files is None else files
    progress = Progress(url, sum(one.size_bytes for one in wanted))
    VersionFetch(store, url, folder, QUICK).run(wanted, progress)
    return progress


def contents(folder: Path) -> dict[str, bytes]:
    """Return what lies in the folder now."""
    below = folder / "files"
    return {str(path.relative_to(below)): path.read_bytes() for path in below.rglob("*") if path.is_file()}


@pytest.fixture
def uploaded(bucket: Bucket) -> Bucket:
    """A bucket with one version."""
    bucket.put_files("m/1", FILES)
    return bucket


@pytest.fixture
def fake() -> FakeStore:
    """A store in memory with one version."""
    store = FakeStore()
    store.put_files(URL, FILES)
    return store


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> int:
    """Pieces so small that a file has many."""
    monkeypatch.setattr(fetch_plan, "CHUNK_BYTES", 1000)
    return 1000


def test_every_file_comes_as_it_is(uploaded: Bucket, tmp_path: Path) -> None:
    """By one request each, and none for an empty one."""
    progress = fetch(FsspecStore(), uploaded.url("m/1"), tmp_path)

    assert contents(tmp_path) == FILES
    assert progress.fetched_bytes == progress.of_bytes == sum(map(len, FILES.values()))
    assert uploaded.proxy.reads() == len(FILES) - 1
    assert len(uploaded.proxy.seen) == len(FILES)
    assert os.listdir(tmp_path / "parts") == []


def test_large_files_come_in_pieces_in_their_order(uploaded: Bucket, tmp_path: Path, small_chunks: int) -> None:
    """Several pieces are on their way at a time."""
    fetch(FsspecStore(), uploaded.url("m/1"), tmp_path)

    assert contents(tmp_path) == FILES
    assert uploaded.proxy.reads("00001") == -(-256 * 40 // small_chunks)


@pytest.mark.parametrize(
    "fault",
    [fails(503, "SlowDown"), fails(500, "InternalError"), fails(408, "RequestTimeout"), cut(7), edited(garbled)],
    ids=["throttled", "failing", "timeout", "truncated", "garbled"],
)
def test_what_passes_is_tried_again(uploaded: Bucket, tmp_path: Path, fault) -> None:
    """Throttling, failures, bodies that are cut short or have wrong bytes."""
    wanted = listed(FsspecStore(), uploaded.url("m/1"))
    uploaded.proxy.inject(fault, times=3)

    fetch(FsspecStore(), uploaded.url("m/1"), tmp_path, wanted)

    assert contents(tmp_path) == FILES


@pytest.mark.parametrize(
    ("status", "code", "expected", "most_requests"),
    [
        (403, "ExpiredToken", Code.UNAUTHENTICATED, 3),
        (403, "AccessDenied", Code.PERMISSION_DENIED, 3),
        (503, "SlowDown", Code.UNAVAILABLE, 3 * 4),
    ],
)
def test_what_does_not_pass_ends_the_fetch(uploaded, tmp_path, status, code, expected, most_requests) -> None:
    """With the store's reason, and without asking for ever."""
    wanted = listed(FsspecStore(), uploaded.url("m/1"))
    uploaded.proxy.forget()
    uploaded.proxy.inject(fails(status, code))

    with pytest.raises(StorageFailed, match=code) as caught:
        fetch(FsspecStore(), uploaded.url("m/1"), tmp_path, wanted)

    assert caught.value.code is expected
    assert len(uploaded.proxy.seen) <= most_requests


def without_checksums(edit):
    """Change a body, and send none of the headers by which botocore would find it."""

    def fault(_seen, forward):
        reply = forward()
        reply.headers = [(name, value) for name, value in reply.headers if "checksum" not in name.lower()]
        reply.body = edit(reply.body)
        return reply

    return fault


def is_read(seen) -> bool:
    return seen.method == "GET" and not seen.is_listing


def test_wrong_bytes_are_found_by_the_etag(uploaded: Bucket, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The file is fetched again."""
    wanted = listed(FsspecStore(), uploaded.url("m/1"))
    uploaded.proxy.inject(without_checksums(garbled), when=is_read, times=1)

    fetch(FsspecStore(), uploaded.url("m/1"), tmp_path, wanted)

    assert contents(tmp_path) == FILES
    assert any(one.startswith("wrong_bytes") for one in caplog.messages)


def test_a_store_with_wrong_bytes_is_refused(uploaded: Bucket, tmp_path: Path) -> None:
    """A model with one bit changed would answer, and wrongly."""
    wanted = listed(FsspecStore(), uploaded.url("m/1"))
    uploaded.proxy.inject(without_checksums(garbled), when=is_read)

    with pytest.raises(StorageFailed, match="do not have the checksum that the store reports") as caught:
        fetch(FsspecStore(), uploaded.url("m/1"), tmp_path, wanted)

    assert caught.value.code is Code.DATA_LOSS


def test_an_etag_that_is_no_md5_is_no_reason_to_refuse(uploaded: Bucket, tmp_path: Path) -> None:
    """Encrypted objects have ETags that only look like one: the store is asked how it made them."""
    wanted = listed(FsspecStore(), uploaded.url("m/1"))
    odd = frozenset(FileEntry(one.path, one.size_bytes, one.changed_s, "0" * 32) for one in wanted)
    uploaded.proxy.inject(_encrypted, when=lambda seen: seen.method == "HEAD")

    fetch(FsspecStore(), uploaded.url("m/1"), tmp_path, odd)

    assert contents(tmp_path) == FILES


def _encrypted(_seen, forward):
    """Answer as for an object that is encrypted with a key of KMS and has no other checksum."""
    reply = forward()
    reply.headers = [(name, value) for name, value in reply.headers if "checksum" not in name.lower()]
    reply.headers.append(("x-amz-server-side-encryption", "aws:kms"))
    return reply


def test_a_file_that_was_uploaded_in_parts_is_proved_by_its_checksum(bucket: Bucket, tmp_path: Path) -> None:
    """Its ETag is no MD5, but the store keeps a CRC of the whole."""
    parts = [b"a" * (5 * 2**20), b"b" * 1000]
    bucket.put_in_parts("m/1/saved_model.pb", parts)
    wanted = listed(FsspecStore(), bucket.url("m/1"))
    (file,) = wanted
    assert file.etag.endswith("-2")
    crc = crc64nvme()
    crc.update(b"".join(parts))
    right = base64.b64encode(bytes.fromhex(crc.hexdigest())).decode()

    for value in ("AAAAAAAAAAA=", right):
        bucket.proxy.heal()
        bucket.proxy.inject(with_headers(x_amz_checksum_crc64nvme=value), when=lambda seen: seen.method == "HEAD")
        with nullcontext() if value == right else pytest.raises(StorageFailed, match="checksum"):
            fetch(FsspecStore(), bucket.url("m/1"), tmp_path, wanted)

    assert contents(tmp_path) == {"saved_model.pb": b"".join(parts)}


def test_without_any_proof_the_sizes_have_to_do(tmp_path: Path) -> None:
    """Some stores tell nothing else."""
    store = FakeStore()
    store.tells_etags = False
    store.put_files(URL, FILES)

    fetch(store, URL, tmp_path)

    assert contents(tmp_path) == FILES


def cut_short(store: FakeStore, folder: Path, at: str, after_reads: int = 0) -> None:
    """Let a fetch fail when it reads a file, and leave its rest behind."""
    reads = iter(range(10**6))

    def fail(path: str) -> None:
        if path == at and next(reads) >= after_reads:
            raise StorageFailed(Code.PERMISSION_DENIED, "cut short")

    store.on_read = fail
    with pytest.raises(StorageFailed, match="cut short"):
        fetch(store, URL, folder)
    store.on_read = lambda _: None
    store.asked.clear()


def test_finished_files_are_kept_for_the_next_attempt(fake: FakeStore, tmp_path: Path) -> None:
    """Only what is missing comes."""
    cut_short(fake, tmp_path, "variables/variables.index")

    progress = fetch(fake, URL, tmp_path)

    assert contents(tmp_path) == FILES
    assert progress.fetched_bytes + progress.kept_bytes == progress.of_bytes
    assert progress.kept_bytes > 0


def test_a_begun_file_is_continued(fake: FakeStore, tmp_path: Path, small_chunks: int) -> None:
    """From the piece that was missing."""
    large = "variables/variables.data-00000-of-00001"
    cut_short(fake, tmp_path, large, after_reads=6)

    progress = fetch(fake, URL, tmp_path)

    assert contents(tmp_path) == FILES
    assert progress.kept_bytes >= small_chunks


def test_a_finished_file_that_was_changed_is_fetched_again(fake: FakeStore, tmp_path: Path) -> None:
    """Its bytes are compared with what they were when it was finished."""
    cut_short(fake, tmp_path, "variables/variables.index")
    (tmp_path / "files" / "saved_model.pb").write_bytes(b"GRAPH" * 100)

    fetch(fake, URL, tmp_path)

    assert contents(tmp_path) == FILES


def test_wrong_bytes_of_an_earlier_attempt_are_found(fake: FakeStore, tmp_path: Path, small_chunks: int) -> None:
    """The part is thrown away as a whole."""
    large = "variables/variables.data-00000-of-00001"
    cut_short(fake, tmp_path, large, after_reads=6)
    (part,) = (tmp_path / "parts").iterdir()
    part.write_bytes(b"?" * small_chunks)

    fetch(fake, URL, tmp_path)

    assert contents(tmp_path) == FILES


def test_a_part_that_is_longer_than_its_file_is_cut(fake: FakeStore, tmp_path: Path) -> None:
    """Whatever made it so."""
    (file,) = (one for one in listed(fake, URL) if one.path == "saved_model.pb")
    (tmp_path / "parts").mkdir()
    (tmp_path / "boot").write_text(version_fetch.BOOT_ID.read_text())
    (tmp_path / "parts" / identity(file)).write_bytes(FILES["saved_model.pb"] + b"more")

    progress = fetch(fake, URL, tmp_path)

    assert contents(tmp_path) == FILES
    assert progress.kept_bytes == len(FILES["saved_model.pb"])


def test_parts_of_before_a_crash_of_the_machine_are_not_trusted(fake: FakeStore, tmp_path: Path) -> None:
    """What was not forced to the disk may be lost."""
    cut_short(fake, tmp_path, "variables/variables.index")
    (tmp_path / "boot").write_text("another boot")
    (tmp_path / "parts" / "rest").write_bytes(b"?")

    fetch(fake, URL, tmp_path)

    assert contents(tmp_path) == FILES
    assert not (tmp_path / "parts" / "rest").exists()


def test_what_does_not_belong_to_the_version_is_deleted(fake: FakeStore, tmp_path: Path) -> None:
    """Files of an earlier state of the directory, and folders where files are now."""
    for path in ("files/old/deep.txt", "files/saved_model.pb/x", "parts/old", "files/unlisted"):
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"old")
    (tmp_path / "journal").write_text(FinishedFile("old/deep.txt", "x", "y").to_line() + "{half a li")

    fetch(fake, URL, tmp_path)

    assert contents(tmp_path) == FILES
    assert not (tmp_path / "files" / "old").exists()


def test_a_file_that_changed_between_two_attempts_is_fetched_anew(fake: FakeStore, tmp_path: Path) -> None:
    """What was finished before is no help."""
    cut_short(fake, tmp_path, "variables/variables.index")
    fake.put_files(URL, {"saved_model.pb": b"other" * 100})

    fetch(fake, URL, tmp_path)

    assert contents(tmp_path) == {**FILES, "saved_model.pb": b"other" * 100}


def test_the_first_failure_stops_the_other_files(tmp_path: Path) -> None:
    """Nobody writes into the folder when the fetch has ended."""
    store = FakeStore({f"{URL}/{number}": b"x" for number in range(50)})

    def fail(path: str) -> None:
        if path == "7":
            raise StorageFailed(Code.PERMISSION_DENIED, "denied")

    store.on_read = fail
    with pytest.raises(StorageFailed, match="denied"):
        fetch(store, URL, tmp_path)

    assert not any(thread.name == "fetch-files" and thread.is_alive() for thread in _writers())


def _writers() -> list[threading.Thread]:
    """Return the threads that write, after those that were told to end have ended."""
    threads = [one for one in threading.enumerate() if one.name == "fetch-files"]
    for thread in threads:
        thread.join(60)
    return threads


def test_a_store_that_never_answers_is_given_up(fake: FakeStore, tmp_path: Path, monkeypatch) -> None:
    """Also one whose library knows no time-outs."""
    go_on = threading.Event()
    monkeypatch.setattr(version_fetch, "CHUNK_TIMEOUT_S", 0.2)
    fake.on_read = lambda _: go_on.wait(60) and None

    with pytest.raises(StorageFailed, match="no answer for 0 s"):
        fetch(fake, URL, tmp_path)
    go_on.set()


def test_progress_is_said_now_and_then(fake: FakeStore, tmp_path: Path, monkeypatch, caplog) -> None:
    """A long fetch shows how far it is, and how it ended."""
    monkeypatch.setattr(version_fetch, "PROGRESS_EVERY_S", 0.0)

    with caplog.at_level(logging.INFO):
        fetch(fake, URL, tmp_path)

    total = sum(map(len, FILES.values()))
    assert any(one.startswith(f"fetch_progress url={URL} ") for one in caplog.messages)
    assert f"fetch_finished url={URL} fetched_bytes={total} kept_bytes=0 of_bytes={total} " in caplog.messages[-1]


def test_a_piece_is_not_larger_than_memory_allows() -> None:
    """All pieces that may be on their way at a time."""
    assert CHUNK_BYTES * version_fetch.CHUNKS_AHEAD * version_fetch.FILES_AT_A_TIME <= 128 * 2**20
