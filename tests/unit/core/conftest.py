"""Requests read with and without the compiled part that cuts long lists of numbers out of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from core.json import cut_lists
from core.oip import json_request


@pytest.fixture(scope="module", params=["usual", "cut"])
def lists_cut(request: pytest.FixtureRequest) -> Iterator[None]:
    """Run a module's tests as they are, and again with every list of numbers cut out that can be, however short."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "cut":
            if cut_lists._extension() is None:
                pytest.skip("the compiled part was not built")
            patch.setattr(cut_lists, "LEAST_BYTES", 12)
            patch.setattr(cut_lists, "LEAST_TEXT_BYTES", 0)
            patch.setattr(json_request, "LARGEST_SHORT_BYTES", 0)
        yield
