"""What a router process loads: the way to versions, and nothing of how they are run."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.support.project import ROOT

SHOW_MODULES = "import json, sys, deployments.router; print(json.dumps(sorted(sys.modules)))"


@pytest.fixture(scope="module")
def loaded() -> list[str]:
    """Return the modules of a fresh process that has imported the router."""
    shown = subprocess.run(
        [sys.executable, "-c", SHOW_MODULES], cwd=ROOT, check=True, capture_output=True, text=True, timeout=100
    )
    return json.loads(shown.stdout)


@pytest.mark.parametrize(
    "unwanted",
    [
        *("deployments.model_server", "deployments.inference", "deployments.runtime", "deployments.storage"),
        *("cffi", "_cffi_backend", "fsspec", "s3fs", "awscrt", "tensorflow"),
    ],
)
def test_a_router_loads_nothing_that_runs_or_fetches_a_model(loaded: list[str], unwanted: str) -> None:
    """Each router would pay for it in memory and at its start; an import contract sees our modules only."""
    assert "deployments.router" in loaded
    assert [name for name in loaded if name == unwanted or name.startswith(f"{unwanted}.")] == []
