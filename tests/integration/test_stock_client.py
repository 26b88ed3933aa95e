"""TensorFlow Serving's own Python client, unchanged, from an environment of its own, on our own port.

On Serve's gRPC port the same comparison is part of `test_serve_run`, which has that port.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import default_cache
from tests.integration.conftest import LiveServer
from tests.support.stock_client import compared

VERSIONS = {
    "half_plus_two": 1,
    "mlp": 1,
    "vocabulary": 1,
    "text_upper": 1,
    "several": 1,
    "all_dtypes": 1,
    "scalar_output": 1,
    "tf1_half_plus_two": 123,
}
METHODS = {
    "Predict": 60,
    "Classify": 2,
    "Regress": 2,
    "MultiInference": 4,
    "GetModelMetadata": len(VERSIONS),
    "GetModelStatus": len(VERSIONS),
    "HandleReloadConfigRequest": 1,
    "SessionRun": 1,
}
"""How often each method must have been compared at least."""


@pytest.mark.stock_client
@pytest.mark.timeout(400)
def test_the_stock_client_gets_what_the_model_gives_in_process(server: LiveServer, saved_models: Path) -> None:
    """Every output of every signature has the dtype and the bits of the model run by TensorFlow there."""
    versions = {name: saved_models / name / str(version) for name, version in VERSIONS.items()}

    told = compared(default_cache().parent, f"127.0.0.1:{server.grpc_port}", versions)

    assert told["different"] == []
    assert {name: count for name, count in METHODS.items() if told["compared"].get(name, 0) < count} == {}
