"""Models of other platforms on the same server: served, told about, and refused as any other."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest

from core.protos import serving_pb2
from ray_model_client import Client
from tests.integration.conftest import LiveServer
from tests.integration.test_broken_versions import entry, final_error
from tests.integration.test_grpc import MODELS, call, reload_request
from tests.support.clients import RestClient, wait_until
from tests.support.zoo_models import MODELS as ZOO
from tests.support.zoo_models import zoo_calls

ANOTHER_PLATFORM = (
    "Illegal to change a model's platform. For model iris platform was onnx and new platform requested is"
)


@pytest.fixture
def iris(server: LiveServer, client: RestClient, base_path: Path) -> Iterator[Path]:
    """A classifier of scikit-learn's as ONNX model, served as `iris`; its base path."""
    shutil.copytree(ZOO / "skl_zipmap" / "1", base_path / "1")
    server.configure("iris", base_path, platform="onnx")
    wait_until(lambda: client.available("iris") == {1}, "the ONNX model is available")
    yield base_path
    server.remove("iris")


def test_an_onnx_model_is_served_beside_saved_models(server: LiveServer, client: RestClient, iris: Path) -> None:
    """Over both protocols; a version of garbage does not replace it, and its platform cannot be changed."""
    (expected,) = (one for one in zoo_calls() if one.model == "skl_zipmap")
    scores = expected.outputs["output_probability"]

    reply = client.post("/v1/models/iris:predict", {"instances": expected.inputs["features"].tolist()})
    metadata = client.get("/v1/models/iris/metadata").json["metadata"]["signature_def"]["signature_def"]
    with Client(f"127.0.0.1:{server.grpc_port}") as light:
        answer = light.predict("iris", expected.inputs)

    labels = [one["output_label"] for one in reply.json["predictions"]]
    assert labels == [one.decode() for one in expected.outputs["output_label"]]
    np.testing.assert_allclose([one["output_probability"] for one in reply.json["predictions"]], scores, 1e-5)
    np.testing.assert_allclose(answer["output_probability"], scores, 1e-5)
    assert {*metadata["serving_default"]["outputs"]} == {"output_label", "output_probability"}

    (iris / "2").mkdir()
    (iris / "2" / "model.onnx").write_bytes(b"garbage" * 100)
    assert "copy or export it again" in final_error(client, "iris", 2)["error_message"]
    assert client.available("iris") == {1}

    request = reload_request(server)
    (listed,) = (one for one in request.config.model_config_list.config if one.name == "iris")
    assert listed.model_platform == "tensorflow"
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel, pytest.raises(grpc.RpcError) as refused:
        call(channel, f"{MODELS}HandleReloadConfigRequest", request, serving_pb2.ReloadConfigResponse)
    assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert refused.value.details() == f"{ANOTHER_PLATFORM} tensorflow"


def test_a_folder_of_another_platform_says_which_one_fits(
    server: LiveServer, client: RestClient, base_path: Path
) -> None:
    """Nothing is loaded."""
    server.copy_version("half_plus_two", 1, base_path)
    server.configure("misfit", base_path, platform="onnx")

    wait_until(lambda: "model_platform" in entry(client, "misfit").get("problem", ""), "the hint is shown")

    assert "holds saved_model.pb, which is for platform tensorflow and not onnx" in entry(client, "misfit")["problem"]
    assert client.states("misfit") == {}
    server.remove("misfit")
