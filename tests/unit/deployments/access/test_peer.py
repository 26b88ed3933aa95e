"""The other end of a connection."""

from __future__ import annotations

import socket
from types import SimpleNamespace
from typing import Any

import pytest

from deployments.access.peer import ELSEWHERE, Peer, is_loopback, peer_of_context, peer_of_transport


class Transport:
    def __init__(self, **info: Any) -> None:
        self._info = info

    def get_extra_info(self, name: str) -> Any:
        return self._info.get(name)


@pytest.mark.parametrize(
    ("host", "wanted"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("::1%lo", True),
        ("::ffff:10.0.0.1", False),
        ("10.0.0.1", False),
        ("0.0.0.0", False),
        ("::", False),
        ("128.0.0.1", False),
        ("localhost", False),
        ("", False),
        ("127.0.0.1.evil.example", False),
    ],
)
def test_loopback_is_an_address_of_this_machine(host: str, wanted: object) -> None:
    """Names prove nothing, and IPv4 in IPv6 is IPv4."""
    assert is_loopback(host) is wanted


@pytest.mark.parametrize(
    ("peer", "wanted"),
    [
        ("ipv4:127.0.0.1:5000", True),
        ("ipv6:%5B::1%5D:5000", True),
        ("ipv6:[::1]:5000", True),
        ("ipv6:%5B::ffff:127.0.0.1%5D:1", True),
        ("unix:", True),
        ("unix:/run/x", True),
        ("unix-abstract:x", True),
        ("ipv4:10.0.0.1:5000", False),
        ("ipv6:%5Bfd00::2%5D:1", False),
        ("vsock:1", False),
        ("dns:127.0.0.1:1", False),
        ("", False),
    ],
)
def test_peers_of_grpcs_library_are_read(peer: str, wanted: object) -> None:
    """As it writes them."""
    context = SimpleNamespace(peer=lambda: peer, auth_context=dict)

    assert peer_of_context(context).is_local is wanted


def test_names_of_certificates_are_the_same_in_both_servers() -> None:
    """One file names clients for both ports."""
    of_ssl = peer_of_transport(
        Transport(
            peername=("10.0.0.1", 1),
            peercert={
                "subject": ((("organizationName", "o"),), (("commonName", "a"),)),
                "subjectAltName": (("DNS", "a.x"), ("URI", "spiffe://x/a"), ("email", "a@x"), ("IP Address", "1.2.3.4"), ("DirName", "z")),
            },
        )
    )  # fmt: skip
    of_grpc = peer_of_context(
        SimpleNamespace(
            peer=lambda: "ipv4:10.0.0.1:1",
            auth_context=lambda: {
                "x509_common_name": [b"a"],
                "peer_dns": [b"a.x"],
                "peer_uri": [b"spiffe://x/a"],
                "peer_email": [b"a@x"],
                "peer_ip": [b"1.2.3.4"],
                "x509_pem_cert": [b"..."],
            },
        )
    )

    assert of_ssl == of_grpc
    assert of_ssl.names == {"CN:a", "DNS:a.x", "URI:spiffe://x/a", "EMAIL:a@x", "IP:1.2.3.4"}


def test_a_unix_socket_is_local_and_a_missing_connection_is_not() -> None:
    """What came through Serve's proxy has no connection of ours."""
    link = SimpleNamespace(family=socket.AF_UNIX)

    assert peer_of_transport(Transport(socket=link, peername="")) == Peer(is_local=True)
    assert peer_of_transport(None) == ELSEWHERE
    assert peer_of_transport(Transport()) == ELSEWHERE
