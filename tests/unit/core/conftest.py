"""Requests read with and without the compiled part that cuts lists of numbers out of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from core.json import cut_lists
from core.oip import json_request


@pytest.fixture(scope="module", params=["cut as usual", "cut as in long texts", "not cut"])
def lists_cut(request: pytest.FixtureRequest) -> Iterator[None]:
    """Run a module's tests as they are, again as if all texts were long, and again without the compiled part."""
    if cut_lists._extension() is None:
        pytest.skip("the compiled part was not built")
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "cut as in long texts":
            patch.setattr(cut_lists, "LEAST_BYTES", cut_lists.LEAST_SHORT_BYTES)
            patch.setattr(cut_lists, "LONGEST_SHORT_BYTES", -1)
            patch.setattr(json_request, "LARGEST_SHORT_BYTES", 0)
        if request.param == "not cut":
            patch.setattr(cut_lists, "_extension", lambda: None)
        yield
