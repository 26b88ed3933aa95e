from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.doors.guarded_sites import GuardedSites, guarded_sites


@pytest.fixture
def sites(tmp_path: Path) -> Iterator[GuardedSites]:
    with guarded_sites(tmp_path) as made:
        yield made
