"""Errors of stores, with texts that stay the same as long as the failure does.

Libraries of stores raise many exceptions, with request ids, times and addresses in their texts. A text that differs at
each attempt would be published to routers as a change and fill the log; so known failures have texts of their own here,
and the texts of the others are scrubbed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from core.errors import Code, ServingError
from core.telemetry.redaction import without_secrets

LONGEST_TEXT = 300

NOT_FOUND = "not found"

UNKNOWN_STORE = "UnknownStore"
"""Stands among the classes of `Symptoms` when no library knows the scheme of a URL."""

SHORT_READ = "ShortRead"
"""Stands among them when fewer bytes came than were asked for."""


@dataclass(frozen=True, slots=True)
class Symptoms:
    """The evidence in an exception: classes of it and its causes, the store's own code, HTTP status."""

    classes: frozenset[str]
    code: str = ""
    status: int = 0
    text: str = ""


class StorageFailed(ServingError):
    """A failed request to a store; `passes` says whether a retry may help soon.

    `is_about_credentials` says that credentials should be read again before the next attempt.
    """

    def __init__(self, code: Code, message: str, passes: bool = False, is_about_credentials: bool = False) -> None:  # noqa: FBT001, FBT002 - all arguments must be positional to travel between processes
        Exception.__init__(self, code, message, passes, is_about_credentials)
        self.code = code

    def __str__(self) -> str:
        return without_secrets(str(self.args[1]))

    @property
    def passes(self) -> bool:
        """Whether a retry may help soon."""
        return bool(self.args[2])

    @property
    def is_about_credentials(self) -> bool:
        """Whether credentials should be read again."""
        return bool(self.args[3])


@dataclass(frozen=True, slots=True)
class _Failure:
    """A known failure: its signs (a code of the store, a class name, or an HTTP status) and its text.

    Without a text, that of the exception is used.
    """

    code: Code
    text: str
    signs: frozenset[str | int]
    passes: bool = False
    is_about_credentials: bool = False


def _failure(code: Code, text: str, *signs: str | int, **marks: Any) -> _Failure:
    return _Failure(code, text, frozenset(signs), **marks)


_FAILURES = (
    _failure(Code.NOT_FOUND, "the bucket does not exist", "NoSuchBucket", "ContainerNotFound"),
    _failure(
        Code.UNAUTHENTICATED,
        "the credentials have expired",
        *("ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired"),
        *("SSOTokenLoadError", "UnauthorizedSSOTokenError", "TokenRetrievalError", "RefreshError"),
        is_about_credentials=True,
    ),
    _failure(
        Code.UNAUTHENTICATED,
        "the credentials are not valid",
        *("InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "InvalidClientTokenId"),
        *("ClientAuthenticationError", 401),
        is_about_credentials=True,
    ),
    _failure(
        Code.UNAUTHENTICATED,
        "no credentials were found",
        *("NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError", "ProfileNotFound"),
        *("DefaultCredentialsError", "NoAuthTokenError"),
        is_about_credentials=True,
    ),
    _failure(
        Code.FAILED_PRECONDITION,
        "the bucket is in another region; set AWS_REGION",
        *("AuthorizationHeaderMalformed", "PermanentRedirect", "IllegalLocationConstraintException", "NoRegionError"),
        301,
    ),
    _failure(Code.FAILED_PRECONDITION, "the clock of this machine is wrong", "RequestTimeTooSkewed"),
    _failure(
        Code.PERMISSION_DENIED,
        "access is denied",
        *("AccessDenied", "AllAccessDisabled", "PermissionError", 403),
        is_about_credentials=True,
    ),
    _failure(
        Code.UNAVAILABLE,
        "the store asks to slow down",
        *("SlowDown", "Throttling", "ThrottlingException", "RequestLimitExceeded", "TooManyRequests"),
        *("TooManyRequestsException", "RequestThrottled", "ServerBusy", 429),
        passes=True,
    ),
    _failure(
        Code.UNAVAILABLE,
        "the store does not answer in time",
        *("RequestTimeout", "ReadTimeoutError", "ConnectTimeoutError", "TimeoutError", "FSTimeoutError"),
        *("ServerTimeoutError", 408, 504),
        passes=True,
    ),
    _failure(
        Code.UNAVAILABLE,
        "the store has a failure of its own",
        *("InternalError", "ServiceUnavailable", 500, 502, 503),
        passes=True,
    ),
    _failure(Code.UNAVAILABLE, "the certificate of the store is not accepted", "SSLError", "SSLCertVerificationError"),
    _failure(
        Code.UNAVAILABLE,
        "the connection to the store broke",
        *("IncompleteRead", "ClientPayloadError", "ResponseStreamingError", "ConnectionClosedError"),
        *("ServerDisconnectedError", "ResponseParserError", "ConnectionResetError", "BrokenPipeError"),
        passes=True,
    ),
    _failure(Code.UNAVAILABLE, "fewer bytes came than were announced", SHORT_READ, passes=True),
    _failure(
        Code.UNAVAILABLE,
        "the store cannot be reached",
        *("EndpointConnectionError", "ProxyConnectionError", "ClientConnectorError", "ConnectionRefusedError"),
        *("gaierror", "HTTPClientError"),
        passes=True,
    ),
    _failure(
        Code.DATA_LOSS,
        "the received bytes do not have the checksum that the store reports",
        *("FlexibleChecksumError", "ChecksumMismatch"),
        passes=True,
    ),
    _failure(Code.ABORTED, "a file changed while it was read", "InvalidRange", "PreconditionFailed", 412, 416),
    _failure(Code.INVALID_ARGUMENT, "the name of the bucket is not valid", "ParamValidationError", "InvalidBucketName"),
    _failure(Code.NOT_FOUND, NOT_FOUND, "NoSuchKey", "FileNotFoundError", 404),
    _failure(Code.FAILED_PRECONDITION, "not a directory", "NotADirectoryError"),
    _failure(Code.FAILED_PRECONDITION, "a directory, not a file", "IsADirectoryError"),
    _failure(Code.FAILED_PRECONDITION, "", "ImportError"),
    _failure(Code.INVALID_ARGUMENT, "", UNKNOWN_STORE),
)

_CHANGING = re.compile(
    r"""
    \b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b       # UUID
    | \b\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?(?:Z|[+-]\d\d:?\d\d)?  # time
    | \b\d\d:\d\d:\d\d(?:[.,]\d+)?\b
    | \b0x[0-9a-f]+\b                                                       # address of an object
    | (?<=request id:\ )\S+ | (?<=requestid:\ )\S+ | (?<=host\ id:\ )\S+ | (?<=hostid:\ )\S+
    | \b(?=[A-Za-z]*\d)[A-Za-z0-9+=_-]{16,}                                 # ids: long, with a digit
    | \b\d+(?:\.\d+)?(?=\ ?(?:ms|s|seconds?|milliseconds?)\b)               # durations
    """,
    re.VERBOSE | re.IGNORECASE,
)


def storage_failed(symptoms: Symptoms, url: str, endpoint: str = "") -> StorageFailed:
    """Return the error to raise or show; equal failures with one URL give equal texts.

    `endpoint` is the address that was asked, where a URL does not name it: an error is often the answer of another
    store than the one that was meant.
    """
    failure = _known(symptoms)
    if failure is None:
        failure = _Failure(Code.UNAVAILABLE, "", frozenset(), passes=True)
    text = failure.text or scrubbed(symptoms.text)
    detail = f" ({symptoms.code})" if symptoms.code and not symptoms.code.isdecimal() else ""
    message = f"{url} not found" if text == NOT_FOUND else f"{url}: {text}{detail}"
    place = f"; endpoint {endpoint}" if endpoint else ""
    return StorageFailed(failure.code, f"{message}{place}", failure.passes, failure.is_about_credentials)


def _known(symptoms: Symptoms) -> _Failure | None:
    """Find the failure by its most telling sign: the store's code, then the HTTP status, then the exception's class."""
    for sign in (frozenset({symptoms.code}), frozenset({symptoms.status}), symptoms.classes):
        for failure in _FAILURES:
            if failure.signs & sign:
                return failure
    return None


def scrubbed(text: str) -> str:
    """Replace in a text the parts that differ between equal failures: ids, times, durations, addresses."""
    return _CHANGING.sub("…", " ".join(text.split()))[:LONGEST_TEXT]
