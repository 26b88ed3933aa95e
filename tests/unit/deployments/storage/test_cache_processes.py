"""One cache folder, several processes: one fetch for all, and whoever is killed harms nobody. Against a real S3."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from core.storage import fetch_plan
from core.storage.retry_policy import RetryPolicy
from core.storage.version_listing import VersionDirectory
from deployments.storage.remote_store import FsspecStore
from deployments.storage.version_cache import ModelCache, RemoteVersion
from tests.support.clients import wait_until
from tests.support.project import ROOT
from tests.support.stores.fault_proxy import cut, fails, held
from tests.support.stores.object_store import Bucket

FILES: Mapping[str, bytes] = {"saved_model.pb": b"graph" * 20, "assets/vocabulary.txt": b"word\n" * 9}
LARGE = "assets/embeddings.bin"


class Server:
    """A process that obtains a version and holds it, as a model server does."""

    def __init__(self, folder: Path, bucket: Bucket, max_bytes: int = 10**9, **options: object) -> None:
        url = bucket.url("m/1")
        command = [sys.executable, "-m", "tests.support.stores.cache_process", str(folder), url, "", str(max_bytes)]
        self.process: subprocess.Popen[str] = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, text=True, **options
        )

    def answer(self) -> dict[str, str]:
        """Wait for what it says."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        return json.loads(line) if line else {}

    def kill(self) -> None:
        """End it without a chance to clean up."""
        self.process.send_signal(signal.SIGKILL)
        self.end()

    def end(self) -> None:
        """Let it go."""
        self.process.communicate(timeout=200)


@contextmanager
def servers(*made: Server) -> Iterator[tuple[Server, ...]]:
    """End all of them afterwards."""
    try:
        yield made
    finally:
        for one in made:
            if one.process.poll() is None:
                one.kill()


@pytest.fixture
def uploaded(bucket: Bucket) -> Bucket:
    """A bucket with one version."""
    bucket.put_files("m/1", FILES)
    return bucket


def contents(path: str) -> dict[str, bytes]:
    folder = Path(path)
    return {str(one.relative_to(folder)): one.read_bytes() for one in folder.rglob("*") if one.is_file()}


def test_two_servers_that_start_at_once_fetch_once(uploaded: Bucket, tmp_path: Path) -> None:
    """The second waits for the first, and finds what it fetched."""
    go_on = threading.Event()
    uploaded.proxy.inject(held(go_on), when=lambda seen: not seen.is_listing)

    with servers(*(Server(tmp_path, uploaded) for _ in range(2))) as both:
        wait_until(lambda: uploaded.proxy.reads() > 0, "one of them fetches")
        go_on.set()
        answers = [one.answer() for one in both]

    assert answers[0] == answers[1]
    assert contents(answers[0]["path"]) == FILES
    assert uploaded.proxy.reads() == len(FILES)


def test_a_killed_fetch_is_taken_up_by_who_waits(uploaded: Bucket, tmp_path: Path) -> None:
    """Its lock dies with it; nothing half is ever visible, and what was finished is not fetched again."""
    uploaded.put("m/1/" + LARGE, b"x" * 10)
    go_on = threading.Event()
    uploaded.proxy.inject(held(go_on), when=lambda seen: seen.path.endswith(LARGE), times=1)

    with servers(Server(tmp_path, uploaded)) as (first,):
        wait_until(lambda: journal(tmp_path).count("\n") == len(FILES), "all but the held file are finished")
        with servers(Server(tmp_path, uploaded)) as (second,):
            assert not list((tmp_path / "entries").iterdir())
            first.kill()
            answer = second.answer()
    go_on.set()

    assert contents(answer["path"]) == {**FILES, LARGE: b"x" * 10}
    assert uploaded.proxy.reads("saved_model.pb") == 1
    assert uploaded.proxy.reads(LARGE) == 2
    assert not list((tmp_path / "fetching").iterdir())


def journal(folder: Path) -> str:
    """Read what a fetch has finished so far."""
    return "".join(one.read_text() for one in folder.glob("fetching/*/journal"))


def test_a_half_file_of_a_killed_fetch_is_continued(bucket: Bucket, tmp_path: Path) -> None:
    """The first piece is not asked for again."""
    content = os.urandom(fetch_plan.CHUNK_BYTES) + b"the rest"
    bucket.put("m/1/saved_model.pb", content)
    go_on = threading.Event()
    second_piece = f"bytes={fetch_plan.CHUNK_BYTES}-{len(content) - 1}"
    bucket.proxy.inject(held(go_on), when=lambda seen: seen.headers.get("range") == second_piece, times=1)

    with servers(Server(tmp_path, bucket)) as (first,):
        wait_until(lambda: part_bytes(tmp_path) == fetch_plan.CHUNK_BYTES, "the first piece is written")
        first.kill()
    go_on.set()
    bucket.proxy.forget()
    with servers(Server(tmp_path, bucket)) as (second,):
        answer = second.answer()

    assert contents(answer["path"]) == {"saved_model.pb": content}
    assert [one.headers["range"] for one in bucket.proxy.seen if not one.is_listing] == [second_piece]


def part_bytes(folder: Path) -> int:
    """Count the bytes of files that are begun, as the system shows them."""
    return sum(one.stat().st_size for one in folder.glob("fetching/*/parts/*"))


def test_a_version_of_a_living_server_is_not_evicted(uploaded: Bucket, tmp_path: Path) -> None:
    """That of a dead one is."""
    size = sum(map(len, FILES.values()))
    uploaded.put_files("m/2", FILES)

    with servers(Server(tmp_path, uploaded)) as (server,):
        path = server.answer()["path"]
        refused = here(tmp_path, uploaded, 2, max_bytes=size)
        assert contents(path) == FILES
    allowed = here(tmp_path, uploaded, 2, max_bytes=size)

    assert refused.startswith("RESOURCE_EXHAUSTED: The model cache has no room")
    assert contents(allowed) == FILES
    assert not Path(path).exists()


def here(folder: Path, bucket: Bucket, version: int, max_bytes: int) -> str:
    """Obtain a version in this process; gives its path or the error."""
    url = bucket.url(f"m/{version}")
    cache = ModelCache(folder, max_bytes, FsspecStore(), retries=RetryPolicy(4, 0.01, 0.05))
    try:
        lease = cache.obtain(RemoteVersion(url, "", "m"))
    except Exception as error:  # noqa: BLE001 - the test looks at it
        return f"{error.code.name}: {error}"  # type: ignore[attr-defined]
    lease.release()
    return lease.path


def test_a_disk_that_fills_up_is_a_clear_error_and_tried_again(uploaded: Bucket, tmp_path: Path) -> None:
    """The system refuses to write more; afterwards nothing of the attempt is left."""
    uploaded.put(f"m/1/{LARGE}", b"x" * 100_000)

    def small_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))

    # A module compiled under that limit would be cut off where all later processes read it.
    no_byte_code = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    with servers(Server(tmp_path, uploaded, preexec_fn=small_files, env=no_byte_code)) as (server,):
        answer = server.answer()
    left = list((tmp_path / "fetching").iterdir())
    with servers(Server(tmp_path, uploaded)) as (server,):
        again = server.answer()

    assert (answer["code"], left) == ("RESOURCE_EXHAUSTED", [])
    assert answer["error"] == f"The disk of the model cache {tmp_path} is full: File too large"
    assert contents(again["path"])[LARGE] == b"x" * 100_000


def test_a_full_file_system_is_noticed(uploaded: Bucket, tmp_path: Path) -> None:
    """On a disk of a megabyte; needs the right to mount one."""
    uploaded.put(f"m/1/{LARGE}", b"x" * 2**21)
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk], capture_output=True, check=False
    ).returncode:
        pytest.skip("no right to mount a small disk")
    try:
        with servers(Server(disk / "cache", uploaded)) as (server,):
            answer = server.answer()
    finally:
        subprocess.run(["umount", disk], check=True)

    assert answer["code"] == "RESOURCE_EXHAUSTED"
    assert "has no room for a version of" in answer["error"]


def opened(folder: Path, mode: int) -> None:
    """Let others pass through the folder above, and give everything below these rights."""
    folder.parent.chmod(0o755)
    for path in folder.rglob("*"):
        path.chmod(mode | 0o111 if path.is_dir() else mode)
    folder.chmod(0o555)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that other users may enter, which pytest's own is not."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def test_a_folder_that_cannot_be_written_gives_what_it_holds(uploaded: Bucket, open_folder: Path) -> None:
    """A cache may be part of an image. What is not there cannot be fetched, and the text names the flag."""
    folder = open_folder / "cache"
    path = here(folder, uploaded, 1, max_bytes=10**9)
    fingerprint = VersionDirectory("", frozenset(FsspecStore().list_files(uploaded.url("m/1")).values())).fingerprint
    opened(folder, 0o444)

    held_there = nobody(folder, uploaded.url("m/1"), fingerprint)
    missing = nobody(folder, uploaded.url("m/2"), "f")

    assert held_there == {"path": path}
    assert missing["code"] == "FAILED_PRECONDITION"
    assert missing["error"].startswith(f"The model cache {folder} cannot be written (flag model_cache_dir)")


def nobody(folder: Path, url: str, fingerprint: str) -> dict[str, str]:
    """Obtain a version as a user without rights; root may write everywhere."""
    code = f"""
import os, sys
sys.path.insert(0, {str(ROOT)!r})
from tests.support.stores import cache_process
if os.getuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
sys.argv[1:] = {[str(folder), url, fingerprint]!r}
cache_process.main()
"""
    made = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, input="", check=False)
    assert made.stdout, made.stderr
    answer: dict[str, str] = json.loads(made.stdout)
    return answer


@pytest.mark.parametrize(
    ("fault", "code"),
    [(fails(403, "ExpiredToken"), "UNAUTHENTICATED"), (fails(503, "SlowDown"), "UNAVAILABLE"), (cut(3), "UNAVAILABLE")],
    ids=["expired", "throttled", "truncated"],
)
def test_a_store_that_fails_is_a_failed_load_and_then_works(uploaded: Bucket, tmp_path: Path, fault, code) -> None:
    """The text is the store's trouble; when it is over, the same folder serves."""
    uploaded.proxy.inject(fault, when=lambda seen: not seen.is_listing)

    error = here(tmp_path, uploaded, 1, max_bytes=10**9)
    uploaded.proxy.heal()
    path = here(tmp_path, uploaded, 1, max_bytes=10**9)

    assert error.startswith(f"{code}: {uploaded.url('m/1')}")
    assert contents(path) == FILES
