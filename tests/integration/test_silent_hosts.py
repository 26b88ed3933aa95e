"""Connections between hosts, in namespaces: which of them end when a process stops, and when a cable is cut."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import psutil
import pytest

from deployments.system.tcp_peer import LONGEST_PAUSE_MS, SILENT_AFTER_S, TCP_RTO_MAX_MS
from tests.support.clients import wait_until
from tests.support.network_hosts import Host, Network, network, why_not_permitted

PROGRAM = (sys.executable, "-m", "tests.support.silence")
STOPPED_S = 2 * SILENT_AFTER_S
KINDS = {"idle", "busy", "full"}


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[tuple[Network, Host, Host]]:
    """A network with two hosts."""
    reason = why_not_permitted()
    if reason:
        pytest.skip(reason)
    with network(tmp_path) as joined:
        yield joined, joined.add(), joined.add()


class Lines:
    """The lines that a program has printed."""

    def __init__(self, output: IO[bytes]) -> None:
        self.words: list[list[str]] = []
        threading.Thread(target=self._read, args=(output,), daemon=True).start()

    def _read(self, output: IO[bytes]) -> None:
        for line in output:
            self.words.append(line.decode().split())

    @property
    def ended_s(self) -> dict[str, float]:
        """The kinds of connections that have ended, and when."""
        return {words[0]: float(words[1]) for words in self.words if words[0] in KINDS}


def test_a_connection_outlives_a_stopped_process_and_not_a_cut_cable(hosts: tuple[Network, Host, Host]) -> None:
    """Whether its peer has read all, is just being sent something, or has read nothing for long."""
    joined, here, there = hosts
    listening = there.start((*PROGRAM, "listen"), output=subprocess.PIPE)
    assert listening.stdout is not None
    port = listening.stdout.readline().decode().strip()
    connecting = here.start((*PROGRAM, "connect", there.address, port), output=subprocess.PIPE)
    assert connecting.stdout is not None
    lines = Lines(connecting.stdout)
    wait_until(lambda: lines.words == [["open"]], "the connections are open")
    listener = psutil.Process(listening.pid)

    listener.children()[0].suspend()
    try:
        time.sleep(STOPPED_S)  # nothing may happen
        assert lines.words == [["open"]]
        cut_s = time.monotonic()
        joined.cut(there)
        wait_until(lambda: lines.ended_s.keys() == KINDS, "all connections have ended", 60)
    finally:
        listener.resume()  # whoever waits for a stopped one has stopped, too

    assert max(lines.ended_s.values()) - cut_s < SILENT_AFTER_S + 2 + _longest_pause_s(), lines.ended_s
    assert min(lines.ended_s.values()) - cut_s > SILENT_AFTER_S / 2 - 1, lines.ended_s


def _longest_pause_s() -> float:
    """Return how long a host that has no room may not have been asked."""
    with socket.socket() as any_one:
        try:
            any_one.setsockopt(socket.IPPROTO_TCP, TCP_RTO_MAX_MS, LONGEST_PAUSE_MS)
        except OSError:
            return 2 * STOPPED_S
    return LONGEST_PAUSE_MS / 1000
