"""One spelling of the names of certificates."""

from __future__ import annotations

import pytest

from core.access.access_file import read_access_rules
from core.access.certificate_names import one_spelling


@pytest.mark.parametrize(
    ("name", "spelled"),
    [
        ("DNS:Ranking.Internal", "DNS:ranking.internal"),
        ("IP:2001:DB8:0:0:0:0:0:1", "IP:2001:db8::1"),
        ("IP:2001:db8::1", "IP:2001:db8::1"),
        ("IP:10.0.0.1", "IP:10.0.0.1"),
        ("IP:not an address", "IP:not an address"),
        ("CN:Ops Team", "CN:Ops Team"),
        ("URI:spiffe://Cluster/a", "URI:spiffe://Cluster/a"),
    ],
)
def test_names_are_compared_in_one_spelling(name, spelled) -> None:
    """Libraries write the same address in several ways; other names are compared as they are."""
    assert one_spelling(name) == spelled


def test_an_access_file_may_use_any_spelling() -> None:
    """And finds the client by the one that a server's library gives."""
    rules = read_access_rules(
        "clients:\n  a:\n    certificates: ['IP:2001:0db8::0001', 'DNS:A.internal']\n    allow: [{groups: [infer]}]\n"
    )

    for told in ("IP:2001:DB8:0:0:0:0:0:1", "DNS:a.INTERNAL"):
        assert [one.name for one in rules.of_certificate([one_spelling(told)])] == ["a"]
