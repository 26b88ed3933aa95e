"""Remote storage as it is read: a real S3 over HTTP that misbehaves, and the other kinds of stores."""

from __future__ import annotations

import hashlib
import os
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from core.config.version_policy import Latest
from core.errors import Code
from core.storage.checksums import StoredChecksums
from core.storage.retry_policy import RetryPolicy
from core.storage.s3_options import CONNECT_TIMEOUT_S, READ_TIMEOUT_S
from core.storage.store_errors import StorageFailed
from core.storage.version_listing import FileEntry
from deployments.storage import remote_store
from deployments.storage.remote_store import FsspecStore, RemoteStore, RetryingStore, symptoms_of
from deployments.storage.version_source import LISTING_RETRIES, VersionSource
from tests.support.clients import free_port
from tests.support.stores.fake_store import FakeStore
from tests.support.stores.fault_proxy import cut, edited, environment, fails, garbled, held, with_headers
from tests.support.stores.object_store import Bucket


def impatient(store: RemoteStore, attempts: int = 3) -> RetryingStore:
    """Try again at once."""
    return RetryingStore(store, RetryPolicy(attempts=attempts), lambda _: None)


def listing_error(url: str) -> str:
    """Return the error of a listing, as the watcher sees it."""
    return VersionSource(impatient(FsspecStore())).list_versions(url, Latest()).error


def failure(call) -> StorageFailed:
    """Return the error that a call ends with."""
    with pytest.raises(StorageFailed) as caught:
        call()
    return caught.value


def test_a_base_path_is_listed_by_one_request(bucket: Bucket) -> None:
    """Every request costs money; no file is asked for by itself."""
    for version in range(1, 6):
        bucket.put_files(f"m/{version}", {"saved_model.pb": b"model", "variables/variables.index": b"index"})

    found = VersionSource().list_versions(bucket.url("m"), Latest())

    assert set(found.versions) == {1, 2, 3, 4, 5}
    assert [one.is_listing for one in bucket.proxy.seen] == [True]


def test_an_empty_base_path_costs_one_request_too(bucket: Bucket) -> None:
    """An object store has no empty folders: there is nothing to tell them from none."""
    assert listing_error(bucket.url("m")) == f"NOT_FOUND: {bucket.url('m')} not found; endpoint {bucket.proxy.url}"
    assert len(bucket.proxy.seen) == 1


def test_long_listings_are_read_page_by_page(bucket: Bucket) -> None:
    """One request for each page, a thousand files long with S3, and none twice."""
    for number in range(5):
        bucket.put(f"m/1/assets/{number}", b"")
    bucket.proxy.rewrite = lambda path: f"{path}&max-keys=2"

    found = FsspecStore().list_files(bucket.url("m/1"))

    assert (len(found), bucket.proxy.listings) == (5, 3)


def test_names_in_a_bucket_are_taken_as_they_are(bucket: Bucket) -> None:
    """With spaces, signs and other scripts; names that end with a slash are no files."""
    names = {"a b", "a+b", "ü/日本", "100%25", "what?x=1#y"}
    for name in names:
        bucket.put(f"m/1/{name}", b"content")
    bucket.put("m/1/", b"")

    store = FsspecStore()

    assert set(store.list_files(bucket.url("m/1"))) == names
    assert store.read(bucket.url("m/1"), "ü/日本", 0, 7) == b"content"


def test_a_neighbour_with_the_same_beginning_is_not_listed(bucket: Bucket) -> None:
    """`m` is not `m2`."""
    bucket.put("m/1/saved_model.pb", b"one")
    bucket.put("m2/1/saved_model.pb", b"two")

    assert set(FsspecStore().list_files(bucket.url("m"))) == {"1/saved_model.pb"}


def test_a_whole_bucket_may_be_a_base_path(bucket: Bucket) -> None:
    """Then versions lie at its top."""
    bucket.put("7/saved_model.pb", b"model")

    assert VersionSource().list_versions(bucket.url(), Latest()).versions[7].path == f"{bucket.url()}/7"


def test_files_are_listed_with_size_time_and_etag(bucket: Bucket) -> None:
    """The ETag of a small object is the MD5 of its content."""
    bucket.put("m/1/f", b"content")

    (file,) = FsspecStore().list_files(bucket.url("m/1")).values()

    assert (file.path, file.size_bytes) == ("f", 7)
    assert file.etag == hashlib.md5(b"content", usedforsecurity=False).hexdigest()
    assert file.changed_s == pytest.approx(datetime.now(UTC).timestamp(), abs=60)


def test_pieces_of_a_file_are_read(bucket: Bucket) -> None:
    """By one request each."""
    bucket.put("m/1/f", b"0123456789")

    assert FsspecStore().read(bucket.url("m/1"), "f", 3, 6) == b"345"
    assert bucket.proxy.reads("f") == 1


def test_a_missing_bucket_is_told(bucket: Bucket) -> None:
    """It is not the same as a missing folder."""
    assert listing_error("s3://no-such-bucket/m") == (
        f"NOT_FOUND: s3://no-such-bucket/m: the bucket does not exist (NoSuchBucket); endpoint {bucket.proxy.url}"
    )


@pytest.mark.parametrize(
    ("status", "code", "text"),
    [
        (403, "ExpiredToken", "UNAUTHENTICATED: {}: the credentials have expired (ExpiredToken)"),
        (403, "InvalidAccessKeyId", "UNAUTHENTICATED: {}: the credentials are not valid (InvalidAccessKeyId)"),
        (403, "AccessDenied", "PERMISSION_DENIED: {}: access is denied (AccessDenied)"),
        (503, "SlowDown", "UNAVAILABLE: {}: the store asks to slow down (SlowDown)"),
        (500, "InternalError", "UNAVAILABLE: {}: the store has a failure of its own (InternalError)"),
        (503, "ServiceUnavailable", "UNAVAILABLE: {}: the store has a failure of its own (ServiceUnavailable)"),
        (
            400,
            "AuthorizationHeaderMalformed",
            "FAILED_PRECONDITION: {}: the bucket is in another region; set AWS_REGION ",
        ),
        (418, "Teapot", "UNAVAILABLE: {}: "),
    ],
)
def test_the_same_trouble_gives_the_same_text_every_time(bucket: Bucket, status, code, text) -> None:
    """Although the store sends other ids with every answer: a new text would be news to every router."""
    bucket.proxy.inject(fails(status, code))

    first, second = (listing_error(bucket.url("m")) for _ in range(2))

    assert first == second
    assert first.startswith(text.format(bucket.url("m")))


def test_what_passes_is_asked_again_within_the_look(bucket: Bucket) -> None:
    """A store that asks to slow down is listed some moments later."""
    bucket.put("m/1/saved_model.pb", b"model")
    bucket.proxy.inject(fails(503, "SlowDown"), times=1)
    bucket.proxy.inject(fails(500, "InternalError"), times=1)

    assert listing_error(bucket.url("m")) == ""
    assert bucket.proxy.listings == 3


def test_what_does_not_pass_is_asked_once(bucket: Bucket) -> None:
    """No library between us and the store asks again on its own."""
    bucket.proxy.inject(fails(403, "AccessDenied"))
    listing_error(bucket.url("m"))
    assert len(bucket.proxy.seen) == 1

    bucket.proxy.heal()
    bucket.proxy.inject(fails(503, "SlowDown"))
    listing_error(bucket.url("m"))

    assert len(bucket.proxy.seen) == 1 + 3


def test_a_store_that_cannot_be_reached_is_told(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody listens there."""
    nobody = f"http://127.0.0.1:{free_port()}"
    monkeypatch.setenv("AWS_ENDPOINT_URL", nobody)

    error = listing_error(bucket.url("m"))

    assert error == f"UNAVAILABLE: {bucket.url('m')}: the store cannot be reached; endpoint {nobody}"


def test_a_store_that_does_not_answer_is_told(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    """A read time-out ends the wait."""
    bucket.proxy.inject(lambda _seen, _forward: (_ for _ in ()).throw(BrokenPipeError))
    broken = listing_error(bucket.url("m"))
    bucket.proxy.heal()
    may_answer = threading.Event()
    bucket.proxy.inject(held(may_answer))
    monkeypatch.setenv("S3_REQUEST_TIMEOUT_MSEC", "200")
    late = listing_error(bucket.url("m"))
    may_answer.set()

    assert broken == f"UNAVAILABLE: {bucket.url('m')}: the connection to the store broke; endpoint {bucket.proxy.url}"
    assert late == f"UNAVAILABLE: {bucket.url('m')}: the store does not answer in time; endpoint {bucket.proxy.url}"


def test_missing_credentials_are_told_and_taken_when_they_come(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A server need not be restarted because somebody forgot them."""
    file = tmp_path / "credentials"
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    bucket.put("m/1/saved_model.pb", b"model")
    storage = VersionSource(impatient(FsspecStore()))

    before = storage.list_versions(bucket.url("m"), Latest())
    file.write_text("[default]\naws_access_key_id = AKIATEST\naws_secret_access_key = secret\n")
    after = storage.list_versions(bucket.url("m"), Latest())

    assert before.error == f"UNAUTHENTICATED: {bucket.url('m')}: no credentials were found; endpoint {bucket.proxy.url}"
    assert (after.error, set(after.versions)) == ("", {1})


def test_expired_credentials_are_read_anew(bucket: Bucket, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Whoever renews them in `~/.aws` does not restart the server."""
    file = tmp_path / "credentials"
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    file.write_text("[default]\naws_access_key_id = OLDKEY\naws_secret_access_key = secret\n")
    bucket.put("m/1/saved_model.pb", b"model")
    bucket.proxy.inject(fails(403, "ExpiredToken"), when=lambda seen: "OLDKEY" in seen.headers["authorization"])
    storage = VersionSource(impatient(FsspecStore()))

    before = storage.list_versions(bucket.url("m"), Latest())
    file.write_text("[default]\naws_access_key_id = NEWKEY\naws_secret_access_key = secret\n")
    after = storage.list_versions(bucket.url("m"), Latest())

    assert (
        before.error
        == f"UNAUTHENTICATED: {bucket.url('m')}: the credentials have expired (ExpiredToken); endpoint {bucket.proxy.url}"
    )
    assert (after.error, set(after.versions)) == ("", {1})


def test_endpoint_region_and_credentials_may_stand_in_the_aws_files(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As every other tool for S3 has it."""
    bucket.put("m/1/saved_model.pb", b"model")
    for name in environment(""):
        monkeypatch.delenv(name)
    (tmp_path / "config").write_text(f"[default]\nregion = eu-central-1\nendpoint_url = {bucket.proxy.url}\n")
    (tmp_path / "credentials").write_text("[default]\naws_access_key_id = FILEKEY\naws_secret_access_key = secret\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))

    assert listing_error(bucket.url("m")) == ""

    (seen,) = bucket.proxy.seen
    assert "FILEKEY" in seen.headers["authorization"]
    assert "/eu-central-1/s3/" in seen.headers["authorization"]


def test_a_body_that_is_cut_short_is_a_broken_connection(bucket: Bucket) -> None:
    """Half a file is never taken for the whole."""
    bucket.put("m/1/f", b"x" * 1000)
    bucket.proxy.inject(cut(500))

    error = failure(lambda: FsspecStore().read(bucket.url("m/1"), "f", 0, 1000))

    assert (str(error), error.passes) == (
        f"{bucket.url('m/1')}: the connection to the store broke; endpoint {bucket.proxy.url}",
        True,
    )


def test_a_body_that_is_too_short_is_no_answer(bucket: Bucket) -> None:
    """Even when its length is announced as it is, and where no checksum comes with it."""
    bucket.put("m/1/f", b"x" * 1000)
    bucket.proxy.inject(_halved)

    error = failure(lambda: FsspecStore().read(bucket.url("m/1"), "f", 0, 1000))

    assert (str(error), error.passes) == (
        f"{bucket.url('m/1')}/f: fewer bytes came than were announced; endpoint {bucket.proxy.url}",
        True,
    )


def _halved(_seen, forward):
    """Send half of the body, and none of the headers that would give it away."""
    reply = forward()
    reply.headers = [(name, value) for name, value in reply.headers if "checksum" not in name.lower()]
    reply.body = reply.body[:500]
    return reply


def test_a_body_with_another_checksum_than_its_header_is_refused(bucket: Bucket) -> None:
    """Where the store sends one along, botocore compares it."""
    bucket.put("m/1/f", b"x" * 1000)
    bucket.proxy.inject(edited(garbled), times=1)

    error = failure(lambda: FsspecStore().read(bucket.url("m/1"), "f", 0, 1000))

    assert (error.code, error.passes) == (Code.DATA_LOSS, True)
    assert (
        str(error)
        == f"{bucket.url('m/1')}: the received bytes do not have the checksum that the store reports; endpoint {bucket.proxy.url}"
    )


def test_a_file_that_became_shorter_has_changed(bucket: Bucket) -> None:
    """Asking again does not help."""
    bucket.put("m/1/f", b"x" * 10)

    error = failure(lambda: FsspecStore().read(bucket.url("m/1"), "f", 500, 1000))

    assert (error.code, error.passes) == (Code.ABORTED, False)


def test_a_file_that_is_gone_is_not_found(bucket: Bucket) -> None:
    """It was there when it was listed."""
    assert failure(lambda: FsspecStore().read(bucket.url("m/1"), "f", 0, 5)).code is Code.NOT_FOUND
    assert failure(lambda: FsspecStore().checksums(bucket.url("m/1"), "f")).code is Code.NOT_FOUND


def test_s3_tells_checksums_of_whole_objects(bucket: Bucket) -> None:
    """Those that were asked for at the upload, and whether the ETag is an MD5."""
    bucket.put("m/1/f", b"content", ChecksumAlgorithm="SHA256")

    stored = FsspecStore().checksums(bucket.url("m/1"), "f")

    assert stored == StoredChecksums({"sha256": hashlib.sha256(b"content").hexdigest()}, etag_is_md5=True)


def test_s3_tells_when_an_etag_is_no_md5(bucket: Bucket) -> None:
    """Objects that are encrypted with a key of KMS."""
    bucket.put("m/1/f", b"content")
    bucket.proxy.inject(with_headers(x_amz_server_side_encryption="aws:kms"))

    assert not FsspecStore().checksums(bucket.url("m/1"), "f").etag_is_md5


def test_a_store_whose_package_is_missing_names_it() -> None:
    """An operator knows what to install."""
    error = failure(lambda: FsspecStore().list_files("gs://bucket/m"))

    assert error.code is Code.FAILED_PRECONDITION
    assert "gcsfs" in str(error)


@pytest.mark.parametrize(
    ("info", "changed_s", "etag"),
    [
        ({"LastModified": datetime.fromtimestamp(5, UTC), "ETag": '"abc"', "Size": 3}, 5.0, "abc"),
        ({"mtime": 6.5, "etag": "abc", "size": 3}, 6.5, "abc"),
        ({"updated": "2026-01-01", "generation": "17", "size": 3}, None, "17"),
        ({"last_modified": datetime.fromtimestamp(7, UTC), "size": 3}, 7.0, ""),
        ({"created": 8, "size": "3"}, 8.0, ""),
        ({"size": 3}, None, ""),
    ],
)
def test_times_and_etags_are_taken_as_stores_give_them(info, changed_s, etag) -> None:
    """S3, Google Cloud Storage, Azure, memory; where none can be read, age is unknown."""
    assert remote_store._entry("f", info) == FileEntry("f", 3, changed_s, etag)


class HttpError(Exception):
    """As libraries of other clouds make them."""

    def __init__(self, **told: object) -> None:
        super().__init__("no")
        self.__dict__.update(told)


@pytest.mark.parametrize(
    ("told", "code", "status"),
    [
        ({"code": 404}, "", 404),
        ({"status": 403}, "", 403),
        ({"status_code": 503, "error_code": "ServerBusy"}, "ServerBusy", 503),
        ({"code": "text", "error_code": None}, "", 0),
        ({"response": {"Error": {"Code": "SlowDown"}}}, "SlowDown", 0),
        ({"response": {}}, "", 0),
        ({}, "", 0),
    ],
)
def test_other_libraries_tell_codes_in_their_own_ways(told, code, status) -> None:
    """The first cause that tells something counts."""
    error = OSError("above")
    error.__cause__ = HttpError(**told)

    symptoms = symptoms_of(error)

    assert (symptoms.code, symptoms.status, symptoms.text) == (code, status, "OSError: above")
    assert {"OSError", "HttpError"} <= symptoms.classes


def test_patience_ends() -> None:
    """With the error of the last attempt, after growing pauses."""
    store = FakeStore()
    store.failures = [StorageFailed(Code.UNAVAILABLE, str(number), passes=True) for number in range(5)]
    pauses: list[float] = []
    patient = RetryingStore(store, RetryPolicy(3, 1.0, 9.0), pauses.append)

    error = failure(lambda: patient.list_files("s3://b/m"))

    assert str(error) == "2"
    assert len(pauses) == 2
    assert 0.5 <= pauses[0] <= 1.0 <= pauses[1] <= 2.0


def test_a_hanging_store_is_given_up_within_a_minute_or_so() -> None:
    """All attempts of a listing together."""
    assert LISTING_RETRIES.attempts * (CONNECT_TIMEOUT_S + READ_TIMEOUT_S) <= 90


def test_one_client_serves_all_threads_of_a_bucket(bucket: Bucket) -> None:
    """Each of its own would open connections of its own."""
    bucket.put("m/1/f", b"content")
    store = FsspecStore()

    store.list_files(bucket.url("m"))
    store.read(bucket.url("m/1"), "f", 0, 7)

    assert len(store._opened) == 1
    assert os.environ["AWS_ENDPOINT_URL"] == bucket.proxy.url


def test_a_store_without_versions_shows_what_lies_there_instead(bucket: Bucket) -> None:
    """As a local base path does, by the one request of the listing."""
    bucket.put_files("m", {"readme.md": b"text", "deep/1/saved_model.pb": b"model"})
    without = VersionSource().list_versions(bucket.url("m"), Latest()).outside
    bucket.put("m/1/saved_model.pb", b"model")

    assert without == {"readme.md", "deep/1/saved_model.pb"}
    assert VersionSource().list_versions(bucket.url("m"), Latest()).outside == frozenset()
    assert len(bucket.proxy.seen) == 2
