"""One browser for the pages."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.browser import browser


@pytest.fixture(scope="package")
def chrome() -> Iterator[Any]:
    """A browser."""
    with browser() as running:
        yield running
