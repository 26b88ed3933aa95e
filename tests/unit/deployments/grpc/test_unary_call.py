"""Tests of calls on the short way, beside those of their connection (`test_protocol`)."""

from __future__ import annotations

from core.http2.frames import DATA, END_STREAM, frame
from tests.support.clients import wait_until
from tests.support.doors.grpc_calls import opened, predict_body
from tests.support.doors.grpc_sites import GrpcSite
from tests.support.doors.raw_http2 import RawHttp2, message


def test_a_body_is_put_together_while_it_comes(site: GrpcSite) -> None:
    """However many frames it comes in; its message is handed on in that memory."""
    body = predict_body(signature_name="s" * 9000)
    whole = message(body)
    with RawHttp2(site.port) as client:
        client.send(opened() + frame(DATA, 0, 1, whole[:7]))
        at = 7
        for size in (1, 1023, 1024, 1, 5000):
            client.send(frame(DATA, 0, 1, whole[at : at + size]))
            at += size
        assert client.is_alive()
        (connection,) = site.connections
        kept = connection.http2.open_stream(1).receiver._body
        assert len(kept) == at

        client.send(frame(DATA, END_STREAM, 1, whole[at:]))
        assert client.answer(1).status == 0

    wait_until(lambda: site.is_idle, "nothing is in flight")
    (sent,) = [one.body for _, one in site.transport.calls]
    assert sent == body
    assert sent is kept.whole()
