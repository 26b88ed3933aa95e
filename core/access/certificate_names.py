"""The names of client certificates in one spelling, in which an access file and each server's library are compared."""

from __future__ import annotations

import ipaddress


def one_spelling(name: str) -> str:
    """Return a name such as `DNS:Host.internal` or `IP:2001:DB8:0:0:0:0:0:1` as it is compared; others as they are.

    Names of hosts have no letter case (RFC 4343), and addresses of IPv6 many spellings (RFC 5952).
    """
    kind, _, value = name.partition(":")
    if kind == "DNS":
        return f"DNS:{value.lower()}"
    if kind == "IP":
        try:
            return f"IP:{ipaddress.ip_address(value)}"
        except ValueError:
            return name
    return name
