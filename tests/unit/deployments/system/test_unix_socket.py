"""UNIX sockets that routers take over from each other."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from deployments.system.unix_socket import SocketPath


def opened(path: Path, owner: int) -> tuple[SocketPath, socket.socket]:
    """Open a socket as the process with an id would, and let the path lead to it."""
    taken = SocketPath(str(path))
    taken.bound = f"{path}.{owner}"
    listener = taken.listener()
    listener.listen()
    taken.publish()
    return taken, listener


def reaches(path: Path, listener: socket.socket) -> bool:
    """Whether a client that connects to the path arrives at a listener."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(5)
        client.connect(str(path))
        listener.settimeout(0)
        try:
            listener.accept()[0].close()
        except BlockingIOError:
            return False
        return True


def test_a_socket_is_found_under_its_path_only_after_it_is_published(tmp_path: Path) -> None:
    """A client never meets a socket that does not listen yet."""
    path = tmp_path / "s"
    taken = SocketPath(str(path))

    with taken.listener() as listener:
        assert not path.exists()
        listener.listen()
        taken.publish()
        assert reaches(path, listener)


def test_a_second_router_takes_the_path_over_without_a_gap(tmp_path: Path) -> None:
    """New connections go to it; those of the first one are not touched."""
    path = tmp_path / "s"
    _, first = opened(path, 1)
    with first, socket.socket(socket.AF_UNIX) as early:
        early.connect(str(path))
        _, second = opened(path, 2)
        with second:
            assert reaches(path, second)
        connection, _ = first.accept()
        connection.close()


def test_a_router_that_leaves_removes_only_its_own_socket(tmp_path: Path) -> None:
    """The path of its successor stays."""
    path = tmp_path / "s"
    old, first = opened(path, 1)
    new, second = opened(path, 2)
    with first, second:
        old.withdraw()
        assert reaches(path, second)
        new.withdraw()

    assert not path.exists()


def test_withdrawing_twice_or_before_publishing_does_nothing(tmp_path: Path) -> None:
    """A start that failed ends like any other."""
    taken = SocketPath(str(tmp_path / "s"))
    taken.withdraw()
    taken.clear()
    taken, listener = opened(tmp_path / "s", 1)
    listener.close()
    taken.withdraw()
    taken.withdraw()

    assert os.listdir(tmp_path) == []


def test_the_file_of_an_ended_process_with_the_same_id_is_replaced(tmp_path: Path) -> None:
    """Ids of processes come again."""
    taken = SocketPath(str(tmp_path / "s"))
    taken.listener().close()
    assert Path(taken.bound).exists()

    taken.listener().close()
    taken.clear()

    assert not Path(taken.bound).exists()


def test_a_path_that_cannot_be_bound_is_an_error(tmp_path: Path) -> None:
    """A folder that does not exist, or a path beyond the system's 108 bytes."""
    for path in (tmp_path / "missing" / "s", tmp_path / ("s" * 120)):
        with pytest.raises(OSError, match=r"No such file|too long"):
            SocketPath(str(path)).listener()
