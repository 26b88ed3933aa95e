"""What host, children and the process that forks say to each other, as bytes."""

from __future__ import annotations

import asyncio
import socket
import threading

import pytest

from deployments.hosting.messages import Ended, Forked, packed, read_message, received, write_message

SENT = [Forked("/a", 7), Ended(7, -9), Forked("/b", problem="x" * 300_000)]


def test_messages_arrive_whole_and_in_order_on_a_blocking_socket() -> None:
    """However the kernel cuts them."""
    ours, its = socket.socketpair()
    with ours, its:
        sending = threading.Thread(target=its.sendall, args=(b"".join(map(packed, SENT)),))
        sending.start()

        assert [received(ours) for _ in SENT] == SENT
        sending.join()


def test_a_peer_that_has_gone_is_an_end_also_amid_a_message() -> None:
    """It may have been killed while it wrote."""
    for rest in (b"", packed(SENT[0])[:-1], b"\0\0"):
        ours, its = socket.socketpair()
        with ours:
            its.sendall(rest)
            its.close()

            with pytest.raises(EOFError):
                received(ours)


async def test_messages_arrive_the_same_on_an_event_loop() -> None:
    """Host and children read them there."""
    reader = asyncio.StreamReader()
    for one in SENT:
        reader.feed_data(packed(one))
    reader.feed_eof()

    assert [await read_message(reader) for _ in SENT] == SENT
    with pytest.raises(EOFError):
        await read_message(reader)


async def test_a_message_to_a_closed_connection_is_dropped() -> None:
    """Its reader hears of the end; whoever writes between must not fail for it."""
    ours, its = socket.socketpair()
    with its:
        reader, writer = await asyncio.open_unix_connection(sock=ours)
        writer.close()
        await writer.wait_closed()

        write_message(writer, SENT[0])

        with pytest.raises(EOFError):
            await read_message(reader)
