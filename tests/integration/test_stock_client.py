"""TensorFlow Serving's own Python client, unchanged, from an environment of its own, on our own port.

On Serve's gRPC port the same comparison is part of `test_serve_run`, which has that port.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from core.protos import model_config_pb2, prediction_log_pb2, serving_pb2
from tests.conftest import default_cache
from tests.integration.conftest import LiveServer
from tests.support.client_environments import STOCK_CLIENT, compared
from tests.support.original_messages import field_facts, original_pool, own_messages

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
OWN_ONLY = frozenset(
    {
        "BatchingParameters", "MonitoringConfig", "PrometheusConfig", "RequestEnvelope", "SSLConfig",
        "SerializedExamplesRequest", "SerializedInput", "SerializedLog", "SerializedMultiInferenceRequest",
        "SerializedPredictionLog",
    }
)  # fmt: skip
"""Views of ours on TensorFlow Serving's messages, and messages that its client's package lacks."""
CUT_DOWN = {"FileSystemStoragePathSourceConfig", "SessionRunResponse"}
"""Messages that are read in part only, or passed on as they are."""


@pytest.mark.stock_client
@pytest.mark.timeout(600)
def test_the_stock_client_gets_what_the_model_gives_in_process(server: LiveServer, saved_models: Path) -> None:
    """Every output of every signature has the dtype and the bits of the model run by TensorFlow there."""
    versions = {name: saved_models / name / str(version) for name, version in VERSIONS.items()}

    told = compared(default_cache().parent, f"127.0.0.1:{server.grpc_port}", versions)

    assert told["different"] == []
    assert {name: count for name, count in METHODS.items() if told["compared"].get(name, 0) < count} == {}


@pytest.mark.stock_client
@pytest.mark.timeout(600)
def test_our_messages_are_those_of_tensorflow_servings_client() -> None:
    """Field by field, as its package describes them: what JSON and reflection show of them is the same."""
    (packages,) = STOCK_CLIENT.made(default_cache().parent).parents[1].glob("lib/python*/site-packages")
    modules = (one.relative_to(packages) for one in packages.glob("tensorflow_serving/*/*_pb2.py"))
    pool = original_pool(packages, [str(one).replace("_pb2.py", ".proto") for one in modules])
    files = (serving_pb2.DESCRIPTOR, model_config_pb2.DESCRIPTOR, prediction_log_pb2.DESCRIPTOR)

    for own in (one for file in files for one in own_messages(file, OWN_ONLY | CUT_DOWN)):
        theirs = pool.FindMessageTypeByName(own.full_name.removeprefix("ray_model_server."))
        assert field_facts(own, "ray_model_server.tensorflow") == field_facts(theirs, "tensorflow"), own.full_name
