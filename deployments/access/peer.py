"""The other end of a connection: whether it is this machine, and the names of its certificate."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import unquote

from core.access.certificate_names import one_spelling

KINDS = {"DNS": "DNS", "URI": "URI", "email": "EMAIL", "IP Address": "IP"}
"""Kinds of alternative names as `ssl` calls them, and as an access file does."""
AUTH_KINDS = {"x509_common_name": "CN", "peer_dns": "DNS", "peer_uri": "URI", "peer_email": "EMAIL", "peer_ip": "IP"}
"""The same as gRPC's own library calls them."""


class Peer(NamedTuple):
    """Who is connected: `is_local` over loopback or a UNIX socket; `names` of a certificate that was verified."""

    is_local: bool = False
    names: frozenset[str] = frozenset()


ELSEWHERE = Peer()
"""A peer of which nothing is known, such as the client of a proxy."""


def peer_of_transport(transport: Any) -> Peer:
    """Return the peer of a connection of asyncio."""
    if transport is None:
        return ELSEWHERE
    link, address = transport.get_extra_info("socket"), transport.get_extra_info("peername")
    is_unix = link is not None and link.family == socket.AF_UNIX
    certificate: Mapping[str, Any] = transport.get_extra_info("peercert") or {}
    is_local = is_unix or (isinstance(address, tuple) and is_loopback(str(address[0])))
    return Peer(is_local, frozenset(map(one_spelling, _names(certificate))))


def _names(certificate: Mapping[str, Any]) -> Iterator[str]:
    for relative in certificate.get("subject", ()):
        yield from (f"CN:{value}" for kind, value in relative if kind == "commonName")
    yield from (f"{KINDS[kind]}:{value}" for kind, value in certificate.get("subjectAltName", ()) if kind in KINDS)


def peer_of_context(context: Any) -> Peer:
    """Return the peer of a call of gRPC, whichever server took it."""
    own: Peer | None = getattr(context, "known_peer", None)
    if own is not None:
        return own
    names = (
        f"{kind}:{value.decode('utf-8', 'replace')}"
        for key, kind in AUTH_KINDS.items()
        for value in context.auth_context().get(key, ())
    )
    return Peer(_is_local_target(context.peer()), frozenset(map(one_spelling, names)))


def _is_local_target(peer: str) -> bool:
    """Whether a peer as gRPC writes it is this machine: `unix:`, `ipv4:127.0.0.1:1`, `ipv6:%5B::1%5D:1`."""
    kind, _, address = unquote(peer).partition(":")
    if kind in {"unix", "unix-abstract"}:
        return True
    return kind in {"ipv4", "ipv6"} and is_loopback(address.rpartition(":")[0].strip("[]"))


def is_loopback(host: str) -> bool:
    """Whether an address is this machine's own, also as an IPv4 address in IPv6."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback
