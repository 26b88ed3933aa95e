"""Troubles of stores have texts that stay the same, codes that fit, and a word on whether they pass."""

from __future__ import annotations

import pickle

import pytest

from core.errors import Code
from core.storage.store_errors import (
    LONGEST_TEXT,
    UNKNOWN_STORE,
    StorageFailed,
    Symptoms,
    scrubbed,
    storage_failed,
)

URL = "s3://bucket/m"


def failed(*classes: str, code: str = "", status: int = 0, text: str = "") -> StorageFailed:
    """Diagnose an exception of these classes."""
    return storage_failed(Symptoms(frozenset(classes), code, status, text), URL)


@pytest.mark.parametrize(
    ("symptoms", "code", "text"),
    [
        ({"code": "NoSuchBucket", "status": 404}, Code.NOT_FOUND, f"{URL}: the bucket does not exist (NoSuchBucket)"),
        (
            {"code": "ExpiredToken", "status": 400},
            Code.UNAUTHENTICATED,
            f"{URL}: the credentials have expired (ExpiredToken)",
        ),
        (
            {"code": "InvalidAccessKeyId", "status": 403},
            Code.UNAUTHENTICATED,
            f"{URL}: the credentials are not valid (InvalidAccessKeyId)",
        ),
        ({"code": "AccessDenied", "status": 403}, Code.PERMISSION_DENIED, f"{URL}: access is denied (AccessDenied)"),
        ({"code": "403", "status": 403}, Code.PERMISSION_DENIED, f"{URL}: access is denied"),
        ({"code": "404", "status": 404}, Code.NOT_FOUND, f"{URL} not found"),
        (
            {"code": "PermanentRedirect", "status": 301},
            Code.FAILED_PRECONDITION,
            f"{URL}: the bucket is in another region; set AWS_REGION (PermanentRedirect)",
        ),
        (
            {"code": "RequestTimeTooSkewed", "status": 403},
            Code.FAILED_PRECONDITION,
            f"{URL}: the clock of this machine is wrong (RequestTimeTooSkewed)",
        ),
    ],
)
def test_answers_of_s3_are_told_clearly(symptoms, code, text) -> None:
    """The store's own code says more than the HTTP status; it is kept in brackets."""
    error = failed("OSError", "ClientError", **symptoms)

    assert (error.code, str(error), error.passes) == (code, text, False)


@pytest.mark.parametrize(
    ("symptoms", "text"),
    [
        ({"code": "SlowDown", "status": 503}, "the store asks to slow down (SlowDown)"),
        ({"status": 429}, "the store asks to slow down"),
        ({"code": "InternalError", "status": 500}, "the store has a failure of its own (InternalError)"),
        ({"status": 503}, "the store has a failure of its own"),
        ({"code": "RequestTimeout", "status": 400}, "the store does not answer in time (RequestTimeout)"),
    ],
)
def test_what_is_worth_another_attempt_passes(symptoms, text) -> None:
    """Throttling, failures of the store, time-outs."""
    error = failed("ClientError", **symptoms)

    assert (error.code, str(error), error.passes) == (Code.UNAVAILABLE, f"{URL}: {text}", True)


@pytest.mark.parametrize(
    ("classes", "text"),
    [
        (("EndpointConnectionError", "ConnectionError", "BotoCoreError"), "the store cannot be reached"),
        (("ConnectTimeoutError", "HTTPClientError"), "the store does not answer in time"),
        (("ReadTimeoutError", "HTTPClientError"), "the store does not answer in time"),
        (("SSLError", "ConnectionError", "HTTPClientError"), "the certificate of the store is not accepted"),
        (("ConnectionClosedError", "HTTPClientError"), "the connection to the store broke"),
        (("ClientPayloadError",), "the connection to the store broke"),
        (("gaierror", "OSError"), "the store cannot be reached"),
    ],
)
def test_broken_connections_are_told_apart(classes, text) -> None:
    """A class that says more wins over the class above it."""
    assert str(failed(*classes)) == f"{URL}: {text}"


@pytest.mark.parametrize("kind", ["NoCredentialsError", "DefaultCredentialsError"])
def test_missing_credentials_are_read_anew_each_time(kind) -> None:
    """They may come."""
    error = failed(kind, "BotoCoreError")

    assert (error.code, error.passes, error.is_about_credentials) == (Code.UNAUTHENTICATED, False, True)
    assert str(error) == f"{URL}: no credentials were found"


@pytest.mark.parametrize("kind", ["ImportError", UNKNOWN_STORE])
def test_a_store_that_cannot_be_opened_says_why(kind) -> None:
    """The library's own text names the package that is missing, or the scheme that nobody knows."""
    error = failed(kind, text="ImportError: Please install gcsfs to access Google Storage")

    assert "Please install gcsfs" in str(error)
    assert not error.passes


def test_an_unknown_trouble_keeps_its_text_and_may_pass() -> None:
    """Better one attempt too many."""
    error = failed("WeirdError", text="WeirdError: no luck")

    assert (error.code, str(error), error.passes) == (Code.UNAVAILABLE, f"{URL}: WeirdError: no luck", True)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("RequestId: 4TZ8KQ1V0ABCDEFG failed", "RequestId: 9AB1CD2E3F4G5H6J failed"),
        ("at 2026-11-22T19:25:09Z", "at 2027-01-02 03:04:05.678+00:00"),
        ("took 1.25 seconds", "took 37 seconds"),
        ("<object at 0x7f12ab>", "<object at 0x7e99>"),
        ("id 123e4567-e89b-12d3-a456-426614174000", "id 00000000-e89b-12d3-a456-426614174999"),
        ("(Host ID: abc/def=)", "(Host ID: uvw/xyz=)"),
        ("at 19:25:09", "at 19:25:39"),
        ("key fUl558jDlxQZDu9honq4M7e3", "key aUl558jDlxQZDu9honq4M7e3oCs9"),
    ],
)
def test_what_differs_from_time_to_time_is_taken_out(one, other) -> None:
    """Otherwise every poll would look like news."""
    assert scrubbed(one) == scrubbed(other) != ""


@pytest.mark.parametrize(
    "text", ["no such host: models.example.org", "bad name half_plus_two/123", "HTTP 418", "[Errno 5]"]
)
def test_what_tells_something_stays(text) -> None:
    """Names, paths and numbers."""
    assert scrubbed(text) == text


def test_passwords_of_urls_are_not_shown() -> None:
    """Errors are shown to everybody who asks for the state of a model."""
    error = storage_failed(Symptoms(frozenset({"PermissionError"})), "sftp://user:secret@host/m")

    assert str(error) == "sftp://***@host/m: access is denied"


def test_long_texts_are_cut() -> None:
    """A store may answer with a page."""
    assert len(scrubbed("word " * 1000)) <= LONGEST_TEXT


def test_the_error_travels_between_processes() -> None:
    """With all that it says."""
    error = failed("ClientError", code="ExpiredToken")

    copied = pickle.loads(pickle.dumps(error))

    assert (str(copied), copied.code, copied.passes, copied.is_about_credentials) == (
        str(error),
        error.code,
        error.passes,
        error.is_about_credentials,
    )
