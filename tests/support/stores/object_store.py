"""A real S3 over HTTP on this machine, and buckets in it."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import boto3
from moto.server import ThreadedMotoServer

from tests.support.stores.fault_proxy import CREDENTIALS, REGION, FaultProxy

_numbers = itertools.count()


@contextmanager
def s3_server(port: int = 0) -> Iterator[int]:
    """Run the server; gives its port."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=port, verbose=False)
    server.start()
    try:
        yield server.get_host_and_port()[1]
    finally:
        server.stop()


@cache
def s3_client(port: int) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=f"http://127.0.0.1:{port}",
        region_name=REGION,
        aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
    )


class Bucket:
    """A bucket of its own for each test; written to directly, read by the code under test through the proxy."""

    def __init__(self, port: int, proxy: FaultProxy) -> None:
        self.proxy = proxy
        self.name = f"models-{next(_numbers)}"
        self.client = s3_client(port)
        self.client.create_bucket(Bucket=self.name, CreateBucketConfiguration={"LocationConstraint": REGION})

    def url(self, path: str = "") -> str:
        return f"s3://{self.name}/{path}".rstrip("/")

    def put(self, path: str, content: bytes, **options: str) -> None:
        self.client.put_object(Bucket=self.name, Key=path, Body=content, **options)

    def put_files(self, folder: str, files: Mapping[str, bytes]) -> None:
        for path, content in files.items():
            self.put(f"{folder}/{path}", content)

    def put_folder(self, path: str, folder: Path) -> None:
        """Upload all files below a folder."""
        for file in sorted(one for one in folder.rglob("*") if one.is_file()):
            self.put(f"{path}/{file.relative_to(folder)}", file.read_bytes())

    def put_in_parts(self, path: str, parts: list[bytes]) -> None:
        """Upload in several parts, as tools do with large files: the ETag is no MD5 then."""
        place = {"Bucket": self.name, "Key": path}
        upload = self.client.create_multipart_upload(**place)["UploadId"]
        done = [
            {"PartNumber": number, "ETag": self._put_part(place, upload, number, part)}
            for number, part in enumerate(parts, 1)
        ]
        self.client.complete_multipart_upload(**place, UploadId=upload, MultipartUpload={"Parts": done})

    def _put_part(self, place: dict[str, str], upload: str, number: int, part: bytes) -> str:
        answer = self.client.upload_part(**place, UploadId=upload, PartNumber=number, Body=part)
        tag: str = answer["ETag"]
        return tag

    def delete(self, path: str) -> None:
        self.client.delete_object(Bucket=self.name, Key=path)
