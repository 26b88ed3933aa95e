"""A running server for tests of commands."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.support.admin_server import AdminServer
from tests.support.sites import M, Site


@pytest.fixture
def live() -> Iterator[AdminServer]:
    """A server of model `m`, whose newest of versions 1 and 2 answers, with the label `stable` at it."""
    site = Site((1, 2), configs=(replace(M, labels={"stable": 2}),))
    site.settle()
    with AdminServer(site) as server:
        yield server
