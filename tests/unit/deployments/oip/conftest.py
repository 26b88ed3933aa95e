"""Open ports of version 2."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.doors.oip_sites import OipSiteMaker, oip_sites


@pytest.fixture(scope="module")
def make_site() -> Iterator[OipSiteMaker]:
    """Makes REST ports with version 2 on them."""
    with oip_sites() as make:
        yield make
