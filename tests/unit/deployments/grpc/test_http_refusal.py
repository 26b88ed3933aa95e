"""Requests over HTTP/2 that are not gRPC: they are judged to their end, and then refused."""

from __future__ import annotations

import pytest

from core.http2.frames import DATA, END_HEADERS, END_STREAM, HEADERS, frame
from core.http2.grpc_heads import header_block
from tests.support.doors.grpc_calls import BODY
from tests.support.doors.grpc_sites import GrpcSite
from tests.support.doors.raw_http2 import RawHttp2, call, head_block

JSON = header_block(
    [(b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/x"), (b"content-type", b"application/json")]
)


@pytest.mark.parametrize(
    ("block", "status"),
    [(head_block(method=b"GET"), "405"), (JSON, "415")],
    ids=["method", "content type"],
)
def test_another_method_or_content_is_refused_when_it_has_ended(site: GrpcSite, block: bytes, status: str) -> None:
    """And the next call on the connection is answered."""
    with RawHttp2(site.port) as client:
        client.send(frame(HEADERS, END_HEADERS, 1, block) + frame(DATA, END_STREAM, 1, b"{}"))
        answer = client.answer(1)
        client.send(call(3, BODY))

        assert answer.fields[":status"] == status
        assert answer.reset is None
        assert client.answer(3).status == 0
