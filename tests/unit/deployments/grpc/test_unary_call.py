"""Tests of calls on the short way, beside those of their connection (`test_protocol`)."""

from __future__ import annotations

from core.http2.frames import DATA, END_STREAM, frame
from deployments.grpc.unary_call import SMALL_PART_BYTES
from tests.support.clients import wait_until
from tests.support.doors.grpc_calls import opened, predict_body
from tests.support.doors.grpc_sites import GrpcSite
from tests.support.doors.raw_http2 import RawHttp2, message


def test_small_parts_of_a_body_are_kept_together(site: GrpcSite) -> None:
    """However many frames they come in; larger parts are not copied."""
    large, small = b"x" * SMALL_PART_BYTES, b"y" * (SMALL_PART_BYTES - 1)
    body = predict_body(signature_name="s" * 9000)
    whole = message(body)
    assert len(whole) > 5 * len(large) + 3 * len(small)
    with RawHttp2(site.port) as client:
        client.send(opened() + frame(DATA, 0, 1, whole[:7]))
        at = 7
        for part in (small, small, large, small, small):
            client.send(frame(DATA, 0, 1, whole[at : at + len(part)]))
            at += len(part)
        assert client.is_alive()
        (connection,) = site.connections
        call = connection.http2.open_stream(1).receiver
        assert [len(one) for one in call._parts] == [7, 2 * len(small), len(large), 2 * len(small)]

        client.send(frame(DATA, END_STREAM, 1, whole[at:]))
        assert client.answer(1).status == 0

    wait_until(lambda: site.is_idle, "nothing is in flight")
    assert [one.body for _, one in site.transport.calls] == [body]
