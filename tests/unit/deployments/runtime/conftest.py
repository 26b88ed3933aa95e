"""Both ways of calling TensorFlow: the compiled part, and Python alone."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from deployments.runtime import compiled as compiled_part
from deployments.runtime.library import library
from tests.support.loaded_models import loaded


@pytest.fixture(params=["compiled", "python"])
def runs_by(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Run the test with each of the two, with models that know no other."""
    if request.param == "python":
        monkeypatch.setattr(compiled_part, "_chosen", [None])
        monkeypatch.setenv(compiled_part.PURE_PYTHON_VARIABLE, "1")
    elif compiled_part.compiled(library()) is None:
        pytest.skip("the compiled part was not built")
    loaded.cache_clear()
    yield request.param
    loaded.cache_clear()
