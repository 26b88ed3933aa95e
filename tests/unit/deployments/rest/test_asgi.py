"""Tests of reading a header from an ASGI scope."""

from __future__ import annotations

import pytest

from deployments.rest.asgi import header


@pytest.mark.parametrize(
    ("name", "value"), [(b"a", b"first"), (b"b", b""), (b"missing", b"")], ids=["the first of two", "empty", "missing"]
)
def test_a_header_is_read_by_its_name(name: bytes, value: bytes) -> None:
    """Servers send the names in lower case."""
    scope = {"headers": [(b"x", b"other"), (b"a", b"first"), (b"a", b"second"), (b"b", b"")]}

    assert header(scope, name) == value
