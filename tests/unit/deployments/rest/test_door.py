"""The REST port alone, without Ray: TLS, mutual TLS, reloaded certificates, UNIX sockets, and who may share a port."""

from __future__ import annotations

import http.client
import socket
import ssl
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from core.routing.table import RoutingTable
from deployments.rest.api import HttpApi, HttpLimits
from deployments.rest.door import HttpAddress, HttpDoor
from deployments.routing.request_router import RequestRouter
from deployments.system.event_loop import LoopThread
from deployments.system.port_claim import PortTaken
from tests.support.certificates import Authority, write_ssl_config
from tests.support.clients import free_port
from tests.support.fakes import FakeTransport

HOST = "127.0.0.1"
TOKEN = "token"


class LiveDoor:
    """A door on an event loop like the router's."""

    def __init__(self, loop: LoopThread, **address: object) -> None:
        self._loop = loop
        router = RequestRouter("r", FakeTransport())
        router.apply(RoutingTable(1, settled=True))
        self.door = HttpDoor(HttpAddress(HOST, **address), HttpApi(router, HttpLimits(), TOKEN), TOKEN)

    def open(self) -> None:
        self._loop.run(self.door.open()).result(60)

    def close(self) -> None:
        self._loop.run(self.door.drain(1.0)).result(60)


Maker = Callable[..., LiveDoor]


@pytest.fixture
def make_door() -> Iterator[Maker]:
    """Makes doors that are closed when the test is over."""
    loop = LoopThread("front-door-test")
    doors: list[LiveDoor] = []

    def made(**address: object) -> LiveDoor:
        doors.append(LiveDoor(loop, **address))
        return doors[-1]

    yield made
    for door in doors:
        door.close()
    loop.stop()
    loop.join(60)


def trusting(authority: Authority, pair: tuple[str, str] | None = None) -> ssl.SSLContext:
    """Return the context of a client that trusts the authority, perhaps with a certificate of its own."""
    context = ssl.create_default_context(cadata=authority.certificate)
    if pair is not None:
        with tempfile.NamedTemporaryFile("w") as file:
            file.write("\n".join(pair))
            file.flush()
            context.load_cert_chain(file.name)
    return context


def connect(port: int, context: ssl.SSLContext | None) -> http.client.HTTPConnection:
    if context is None:
        return http.client.HTTPConnection("localhost", port, timeout=60)
    return http.client.HTTPSConnection("localhost", port, timeout=60, context=context)


def status(connection: http.client.HTTPConnection) -> int:
    connection.request("GET", "/healthz")
    response = connection.getresponse()
    response.read()
    return response.status


def answers(port: int, context: ssl.SSLContext | None) -> bool:
    connection = connect(port, context)
    try:
        return status(connection) == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def test_rest_over_tls(make_door: Maker, tmp_path: Path) -> None:
    """A client that trusts the authority is answered; a plain one, and one that trusts another, are not."""
    authority, port = Authority(), free_port()
    write_ssl_config(tmp_path / "ssl", authority)
    make_door(port=port, ssl_config_file=str(tmp_path / "ssl")).open()

    assert answers(port, trusting(authority))
    assert not answers(port, None)
    assert not answers(port, trusting(Authority()))


@pytest.mark.parametrize("good", [1, 2, 3])
def test_a_refusal_behind_good_requests_is_sent_once(make_door: Maker, tmp_path: Path, good: int) -> None:
    """Over TLS nothing stops a second page, because its stream has no end of its own in one direction."""
    authority, port = Authority(), free_port()
    write_ssl_config(tmp_path / "ssl", authority)
    make_door(port=port, ssl_config_file=str(tmp_path / "ssl")).open()

    with (
        socket.create_connection((HOST, port), timeout=60) as plain,
        trusting(authority).wrap_socket(plain, server_hostname="localhost") as encrypted,
    ):
        encrypted.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" * good + b"GET / HTTP/1.1\r\n\r\n")
        answers_sent = b"".join(iter(lambda: encrypted.recv(65536), b""))

    assert answers_sent.count(b"HTTP/1.1 200 ") == good
    assert answers_sent.count(b"HTTP/1.1 400 ") == 1


def test_rest_asks_for_client_certificates(make_door: Maker, tmp_path: Path) -> None:
    """With client_verify, only a client with a certificate of the configured authority is answered."""
    authority, stranger, port = Authority(), Authority(), free_port()
    write_ssl_config(tmp_path / "ssl", authority, verify=True)
    make_door(port=port, ssl_config_file=str(tmp_path / "ssl")).open()

    assert answers(port, trusting(authority, authority.issue()))
    assert not answers(port, trusting(authority))
    assert not answers(port, trusting(authority, stranger.issue()))


def test_a_unix_socket_is_encrypted_like_the_port(make_door: Maker, tmp_path: Path) -> None:
    """What the file protects is protected on every way in."""
    authority, path = Authority(), str(tmp_path / "s")
    write_ssl_config(tmp_path / "ssl", authority)
    make_door(port=0, socket_path=path, ssl_config_file=str(tmp_path / "ssl")).open()

    with socket.socket(socket.AF_UNIX) as plain:
        plain.connect(path)
        with trusting(authority).wrap_socket(plain, server_hostname="localhost") as encrypted:
            encrypted.sendall(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
            assert encrypted.recv(100).startswith(b"HTTP/1.1 200")


def test_new_connections_get_the_new_certificate(make_door: Maker, tmp_path: Path) -> None:
    """Open connections go on with the old one; a file that cannot be used changes nothing."""
    old, new, port, file = Authority(), Authority(), free_port(), tmp_path / "ssl"
    write_ssl_config(file, old)
    make_door(port=port, ssl_config_file=str(file)).open()
    open_one = connect(port, trusting(old))
    assert status(open_one) == 200

    file.write_text("nonsense")
    assert answers(port, trusting(old))
    file.unlink()
    assert answers(port, trusting(old))
    write_ssl_config(file, new)

    assert answers(port, trusting(new))
    assert not answers(port, trusting(old))
    assert status(open_one) == 200
    open_one.close()


def test_new_connections_are_verified_against_the_new_authority(make_door: Maker, tmp_path: Path) -> None:
    """Clients of the authority that left the file are not let in any more."""
    old, new, port, file = Authority(), Authority(), free_port(), tmp_path / "ssl"
    write_ssl_config(file, old, verify=True)
    make_door(port=port, ssl_config_file=str(file)).open()
    assert answers(port, trusting(old, old.issue()))

    write_ssl_config(file, new, verify=True)

    assert answers(port, trusting(new, new.issue()))
    assert not answers(port, trusting(new, old.issue()))


def test_client_verify_changes_with_a_new_start_only(
    make_door: Maker, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The gRPC port cannot change it either; a file with another value is not taken, and the log says so."""
    authority, port, file = Authority(), free_port(), tmp_path / "ssl"
    write_ssl_config(file, authority, verify=True)
    make_door(port=port, ssl_config_file=str(file)).open()

    write_ssl_config(file, authority)

    assert not answers(port, trusting(authority))
    assert "a new client_verify needs a new start" in caplog.text


@pytest.mark.parametrize("verify", [None, False, True], ids=["plain", "TLS", "mutual TLS"])
def test_siblings_share_a_port(make_door: Maker, tmp_path: Path, verify) -> None:
    """A second replica of the node proves to be the same application, encrypted or not."""
    authority, port, file = Authority(), free_port(), tmp_path / "ssl"
    if verify is not None:
        write_ssl_config(file, authority, verify=verify)
    address = {"port": port, "ssl_config_file": "" if verify is None else str(file)}
    first, second = make_door(**address), make_door(**address)

    first.open()
    third = make_door(**address)
    second.open()
    third.open()


@pytest.mark.parametrize("verify", [False, True], ids=["TLS", "mutual TLS"])
def test_a_stranger_behind_tls_is_no_sibling(make_door: Maker, tmp_path: Path, verify) -> None:
    """It has another certificate or token, or no TLS at all."""
    port, ours, theirs = free_port(), tmp_path / "ours", tmp_path / "theirs"
    write_ssl_config(ours, Authority(), verify=verify)
    write_ssl_config(theirs, Authority(), verify=True)
    make_door(port=port, ssl_config_file=str(theirs)).open()
    plain_port = free_port()
    make_door(port=plain_port).open()

    for taken in (port, plain_port):
        with pytest.raises(PortTaken, match=f"Port {taken} .REST."):
            make_door(port=taken, ssl_config_file=str(ours))


def test_a_stranger_that_listens_after_the_claim_is_found_before_the_door_opens(make_door: Maker) -> None:
    """A port that was bound, but silent, at the claim could be anybody's."""
    port = free_port()
    with socket.socket() as stranger:
        stranger.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        stranger.bind((HOST, port))
        door = make_door(port=port)
        stranger.listen()

        with pytest.raises(PortTaken):
            door.open()


def test_a_new_door_takes_the_unix_socket_over(make_door: Maker, tmp_path: Path) -> None:
    """The path leads to the newest, also after the old one has closed; the last one removes it."""
    path = tmp_path / "s"
    old, new = make_door(port=0, socket_path=str(path)), make_door(port=0, socket_path=str(path))
    old.open()
    new.open()

    old.close()

    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        client.sendall(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
        assert client.recv(100).startswith(b"HTTP/1.1 200")
    new.close()
    assert list(tmp_path.iterdir()) == []


def test_the_socket_of_a_dead_server_is_replaced(make_door: Maker, tmp_path: Path) -> None:
    """Nobody has to clean up after a crash."""
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))

    make_door(port=0, socket_path=str(path)).open()

    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
