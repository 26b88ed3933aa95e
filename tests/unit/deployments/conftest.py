"""A real S3 for tests of storage."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.fault_proxy import FaultProxy, environment
from tests.support.object_store import Bucket, s3_server


@pytest.fixture(scope="session")
def s3_port() -> Iterator[int]:
    """Port of the S3 server of the session."""
    with s3_server() as port:
        yield port


@pytest.fixture
def bucket(s3_port: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    """An empty bucket, which this process and its children reach through a proxy that can misbehave."""
    with FaultProxy(s3_port) as proxy:
        for name, value in environment(proxy.url).items():
            monkeypatch.setenv(name, value)
        yield Bucket(s3_port, proxy)
