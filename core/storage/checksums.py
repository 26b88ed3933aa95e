"""Which checksums of a store prove the content of a fetched file, and which only look as if they did.

An S3 ETag is the MD5 of the content only for an object that was uploaded in one piece and is not encrypted with a key
of KMS or of the client, and never in a directory bucket. So an ETag that equals the MD5 proves the content, and one
that differs proves nothing before the store was asked how it made it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import google_crc32c
from awscrt import checksums as aws_checksums

_MD5 = re.compile(r"[0-9a-f]{32}")


class Digest(Protocol):
    """A checksum that is computed piece by piece, like those of hashlib."""

    def update(self, data: bytes, /) -> None:
        """Add more data."""

    def hexdigest(self) -> str:
        """Return the checksum of all data so far."""


class Crc:
    """A CRC that is computed piece by piece, used as hashlib's objects are.

    `extended` takes a piece of data and the CRC of what came before it, and returns the CRC of both.
    """

    def __init__(self, extended: Callable[[bytes, int], int], width: int) -> None:
        self._extended = extended
        self._digits = width // 4
        self._value = 0

    def update(self, data: bytes, /) -> None:
        """Add more data."""
        self._value = self._extended(data, self._value)

    def hexdigest(self) -> str:
        """Return the CRC of all data so far, the highest byte first."""
        return f"{self._value:0{self._digits}x}"


def crc64nvme() -> Crc:
    """Return the CRC that S3 computes by itself for objects uploaded in parts."""
    return Crc(aws_checksums.crc64nvme, 64)


def crc32c() -> Crc:
    """Return the CRC that Google Cloud Storage keeps for every object."""
    return Crc(lambda data, before: google_crc32c.extend(before, data), 32)


def crc32() -> Crc:
    """Return the CRC of zlib."""
    return Crc(zlib.crc32, 32)


ALGORITHMS: Mapping[str, Callable[[], Digest]] = {
    "sha256": hashlib.sha256,
    "sha1": lambda: hashlib.sha1(usedforsecurity=False),
    "md5": lambda: hashlib.md5(usedforsecurity=False),
    "crc64nvme": crc64nvme,
    "crc32c": crc32c,
    "crc32": crc32,
}
"""The checksums that can be computed here, the strongest first."""


@dataclass(frozen=True, slots=True)
class StoredChecksums:
    """The checksums that a store holds of an object's whole content: algorithm to value in hexadecimal digits."""

    values: Mapping[str, str] = field(default_factory=dict)
    etag_is_md5: bool = False


def of_s3(head: Mapping[str, Any], bucket: str) -> StoredChecksums:
    """Read the answer to HeadObject with ChecksumMode; checksums of parts say nothing about the whole."""
    values = {}
    if head.get("ChecksumType", "FULL_OBJECT") == "FULL_OBJECT":
        values = {name: _hexadecimal(head.get(f"Checksum{name.upper()}")) for name in ALGORITHMS}
    has_own_key = bool(head.get("SSECustomerAlgorithm")) or str(head.get("ServerSideEncryption")).startswith("aws:kms")
    return StoredChecksums(_given(values), etag_is_md5=not has_own_key and not bucket.endswith("--x-s3"))


def of_info(info: Mapping[str, Any]) -> StoredChecksums:
    """Read what fsspec's `info` shows of an object on Google Cloud Storage or Azure; elsewhere there is nothing."""
    azure = (info.get("content_settings") or {}).get("content_md5")
    md5 = bytes(azure).hex() if azure else _hexadecimal(info.get("md5Hash"))
    return StoredChecksums(_given({"md5": md5, "crc32c": _hexadecimal(info.get("crc32c"))}))


def expected(stored: StoredChecksums, etag: str) -> tuple[str, str] | None:
    """Return the algorithm to verify with and its expected value; None when the store offers no proof."""
    for algorithm in ALGORITHMS:
        if algorithm in stored.values:
            return algorithm, stored.values[algorithm]
    if stored.etag_is_md5 and _MD5.fullmatch(etag):
        return "md5", etag
    return None


def _given(values: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in values.items() if value}


def _hexadecimal(value: object) -> str:
    """Turn the base64 of a header into digits; empty when it is not base64, like a checksum of parts (`abc=-3`)."""
    try:
        return base64.b64decode(str(value), validate=True).hex() if value else ""
    except (binascii.Error, ValueError):
        return ""
