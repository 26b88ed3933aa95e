"""Secrets in texts that leave the process: what is hidden, and what stays as it is."""

from __future__ import annotations

import pytest

from core.telemetry.redaction import HIDDEN, is_secret_name, without_secrets


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("sftp://user:s3cr3t@host/m: access is denied", "sftp://***@host/m: access is denied"),
        ("https://s3cr3t@host/m@x", "https://***@host/m@x"),
        ("ftp://user:s3@cr3t@host/m", "ftp://***@host/m"),
        ("s3://user:s3cr3t@bucket/m and s3://other:s3cr3t@bucket", "s3://***@bucket/m and s3://***@bucket"),
        ("GET https://host/x?X-Amz-Signature=s3cr3t&a=1 failed", "GET https://host/x?X-Amz-Signature=***&a=1 failed"),
        ("GET https://host/x?sv=1&sig=s3cr3t failed", "GET https://host/x?sv=1&sig=*** failed"),
        ("X-Amz-Credential=s3cr3t/20260101/region&x=1", "X-Amz-Credential=***&x=1"),
        ("aws_secret_access_key=s3cr3t", "aws_secret_access_key=***"),
        ("no access for AKIAIOSFODNN7EXAMPLE here", "no access for *** here"),
        ("no access for ASIAIOSFODNN7EXAMPLE here", "no access for *** here"),
        ("api_key: s3cr3t", "api_key: ***"),
        ("X-Api-Key: s3cr3t", "X-Api-Key: ***"),
        ("AccountKey=s3cr3t;x", "AccountKey=***;x"),
        ("header Authorization: Bearer s3cr3ts3cr3t", "header Authorization: Bearer ***"),
        ("Basic dXNlcjpzM2NyM3Q=", "Basic ***"),
        ("RAY_AUTH_TOKEN=s3cr3t", "RAY_AUTH_TOKEN=***"),
        ("{'password': 's3cr3t'}", "{'password': ***'}"),
        ('{"secret": "s3cr3t"}', '{"secret": ***"}'),
    ],
)
def test_a_secret_is_hidden_and_the_text_around_it_stays(text: str, shown: str) -> None:
    """Userinfo of URLs, signed URLs, keys of S3 and others, credentials of headers, and values named as secrets."""
    assert without_secrets(text) == shown


@pytest.mark.parametrize(
    "text", ["sftp://user:s3cr3t@host/m", "token=s3cr3t", "AKIAIOSFODNN7EXAMPLE", "Bearer abcdefghi"]
)
def test_hiding_twice_changes_nothing(text: str) -> None:
    """An error text passes through several places that hide secrets."""
    once = without_secrets(text)

    assert without_secrets(once) == once


@pytest.mark.parametrize(
    "text",
    [
        "gs://bucket/m",
        "s3://bucket/a@b",
        "https://host/x?mail=a@b",
        "a@b",
        "no token here",
        "signature serving_default is missing",
        "the credentials are not valid (InvalidAccessKeyId)",
        "s3://bucket/keys/AKIA/1: not found",
    ],
)
def test_a_text_without_secrets_is_left_alone(text: str) -> None:
    """An error text stays readable, and the key of an object may hold any character."""
    assert without_secrets(text) == text


@pytest.mark.parametrize(
    ("name", "is_secret"),
    [
        ("token", True),
        ("auth_token", True),
        ("password", True),
        ("api_key", True),
        ("x-api-key", True),
        ("proxy-authorization", True),
        ("x-auth-token", True),
        ("aws_secret_access_key", True),
        ("Authorization", True),
        ("token_count", False),
        ("key", False),
        ("tokens", False),
    ],
)
def test_a_field_is_secret_by_the_end_of_its_name(name: str, is_secret: bool) -> None:  # noqa: FBT001
    """Its value is never shown, whatever it is."""
    assert is_secret_name(name) is is_secret


def test_the_mark_shows_that_something_was_hidden() -> None:
    """A reader must not take a shortened text for the whole."""
    assert without_secrets("token=x") == f"token={HIDDEN}"
