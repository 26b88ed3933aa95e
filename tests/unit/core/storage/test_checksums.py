"""Which checksums of a store prove the content of a file."""

from __future__ import annotations

import base64
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.storage.checksums import ALGORITHMS, StoredChecksums, expected, of_info, of_s3

CONTENT = b"weights"
MD5 = hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()


def base64_of(digest: bytes) -> str:
    """Write a checksum as stores do."""
    return base64.b64encode(digest).decode()


SHA256 = hashlib.sha256(CONTENT)


def test_the_strongest_checksum_of_the_whole_object_decides() -> None:
    """The ETag does not count beside it."""
    head = {"ChecksumSHA256": base64_of(SHA256.digest()), "ChecksumCRC32": "AAAAAA=="}

    assert expected(of_s3(head, "bucket"), MD5) == ("sha256", SHA256.hexdigest())


@pytest.mark.parametrize("name", list(ALGORITHMS))
def test_every_algorithm_can_be_computed(name) -> None:
    """What is named can be checked."""
    digest = ALGORITHMS[name]()
    digest.update(b"")

    assert set(digest.hexdigest()) <= set("0123456789abcdef")
    assert expected(StoredChecksums({name: "ab"}), "") == (name, "ab")


@pytest.mark.parametrize(
    ("algorithm", "of_digits", "of_nothing"),
    [
        ("crc32", "cbf43926", "00000000"),
        ("crc32c", "e3069283", "00000000"),
        ("crc64nvme", "ae8b14860a799888", "0000000000000000"),
    ],
)
def test_the_check_value_of_each_crc_comes_out(algorithm, of_digits, of_nothing) -> None:
    """The published value for the digits 1 to 9, and all digits for an empty file."""
    assert of_pieces(algorithm, [b"123456789"]) == of_digits
    assert of_pieces(algorithm, []) == of_nothing


@pytest.mark.parametrize("algorithm", ["crc32", "crc32c", "crc64nvme"])
@given(pieces=st.lists(st.binary(max_size=2000), max_size=6))
def test_pieces_give_the_crc_of_the_whole(algorithm, pieces) -> None:
    """Files are read in blocks of any size."""
    assert of_pieces(algorithm, pieces) == of_pieces(algorithm, [b"".join(pieces)])


def of_pieces(algorithm: str, pieces: list[bytes]) -> str:
    """Compute a checksum piece by piece."""
    digest = ALGORITHMS[algorithm]()
    for piece in pieces:
        digest.update(piece)
    return digest.hexdigest()


@pytest.mark.parametrize(
    "head",
    [
        {"ChecksumSHA256": f"{base64_of(SHA256.digest())}-3", "ChecksumType": "COMPOSITE"},
        {"ChecksumSHA256": f"{base64_of(SHA256.digest())}-3"},
        {"ChecksumCRC32": base64_of(b"1234"), "ChecksumType": "COMPOSITE"},
        {"ChecksumSHA256": "???"},
        {},
    ],
)
def test_checksums_of_parts_and_nonsense_are_no_proof(head) -> None:
    """A multipart upload has a checksum of checksums; its ETag is no MD5 either."""
    assert expected(of_s3(head, "bucket"), f"{MD5}-3") is None


def test_the_etag_of_a_plain_object_is_its_md5() -> None:
    """Uploaded in one piece, without a key of its own."""
    assert expected(of_s3({"ServerSideEncryption": "AES256"}, "bucket"), MD5) == ("md5", MD5)


@pytest.mark.parametrize(
    ("head", "bucket"),
    [
        ({"ServerSideEncryption": "aws:kms"}, "bucket"),
        ({"ServerSideEncryption": "aws:kms:dsse"}, "bucket"),
        ({"SSECustomerAlgorithm": "AES256"}, "bucket"),
        ({}, "bucket--use1-az4--x-s3"),
    ],
)
def test_the_etag_of_an_encrypted_object_is_no_md5(head, bucket) -> None:
    """It only looks like one; the same holds for directory buckets."""
    assert expected(of_s3(head, bucket), MD5) is None


@pytest.mark.parametrize("etag", [f"{MD5}-2", MD5.upper(), MD5[:-1], ""])
def test_what_does_not_look_like_an_md5_is_none(etag) -> None:
    """Also where ETags are MD5s."""
    assert expected(StoredChecksums(etag_is_md5=True), etag) is None


@pytest.mark.parametrize(
    ("info", "proof"),
    [
        ({"md5Hash": base64_of(bytes.fromhex(MD5)), "crc32c": "AAAAAA=="}, ("md5", MD5)),
        ({"crc32c": base64_of(b"\x01\x02\x03\x04")}, ("crc32c", "01020304")),
        ({"content_settings": {"content_md5": bytearray.fromhex(MD5)}}, ("md5", MD5)),
        ({"content_settings": {"content_md5": None}}, None),
        ({"content_settings": None}, None),
        ({"name": "file", "size": 3}, None),
    ],
)
def test_other_clouds_tell_checksums_with_the_size(info, proof) -> None:
    """Google Cloud Storage and Azure; elsewhere there is no proof."""
    assert expected(of_info(info), MD5) == proof
