"""A client of the REST API."""

from __future__ import annotations

import pytest

from tests.support.doors.asgi_client import Client


@pytest.fixture
def client() -> Client:
    """A client of a server with the usual limits."""
    return Client()
