"""TensorFlow Serving's own Python client, unchanged, from an environment of its own."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.conftest import default_cache
from tests.integration.conftest import LiveServer
from tests.support import stock_client

MODELS = ("half_plus_two", "mlp", "vocabulary", "text_upper", "several")


@pytest.mark.timeout(400)
def test_the_stock_client_gets_what_the_model_gives_in_process(server: LiveServer, saved_models: Path) -> None:
    """Every output of every signature has the dtype and the values of the model run by TensorFlow there."""
    python = stock_client.environment(default_cache().parent)
    names = [name for name in MODELS if name in server.entries]
    command = [python, stock_client.__file__, f"127.0.0.1:{server.grpc_port}", saved_models, *names]
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}

    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=300)

    assert done.returncode == 0, done.stderr[-2000:]
    result = json.loads(done.stdout.strip().rpartition("\n")[2])
    assert result["different"] == []
    assert result["compared"] >= 7
