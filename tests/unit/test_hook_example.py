"""The example of hooks: JPEG pictures in, the five most likely labels out; over REST and gRPC, batched and not."""

from __future__ import annotations

import io
import runpy
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from PIL import Image

from core.config.model_config import BatchingParameters
from core.errors import Code
from core.protos import serving_pb2
from core.versions.servable import ServableId
from deployments.inference.assembly import loaded_model
from deployments.inference.batched_execution import BatchedExecution
from deployments.inference.foreign_execution import ForeignExecution
from tests.support.clients import RestClient
from tests.support.doors.model_stack import ModelStack
from tests.support.hook_files import hook_spec, imports_undone
from tests.support.project import ROOT
from tests.unit.deployments.inference.test_batcher import directly

EXAMPLE = ROOT / "examples" / "hooks"
COLOURS = ServableId("colours", 1)
BATCHING = BatchingParameters(8, batch_timeout_micros=5000, num_batch_threads=1)
CLIENTS = 8
ASK = runpy.run_path(str(EXAMPLE / "ask.py"))


def jpeg(colour: str, size: tuple[int, int] = (40, 30)) -> bytes:
    """Make a picture of one colour."""
    file = io.BytesIO()
    Image.new("RGB", size, colour).save(file, "JPEG")
    return file.getvalue()


@pytest.fixture(scope="module", params=["alone", "batched"])
def site(request: pytest.FixtureRequest) -> Iterator[ModelStack]:
    """The example as a replica loads it."""
    with imports_undone():
        model = loaded_model(hook_spec(EXAMPLE / "colours" / "1"))
        batched = request.param == "batched"
        execution = BatchedExecution(model, BATCHING, through=directly) if batched else ForeignExecution(model, 2)
        with ModelStack({COLOURS: execution}) as stack:
            yield stack


@pytest.mark.parametrize("colour", ["red", "green", "blue", "yellow", "black", "white"])
def test_a_picture_gets_its_five_best_labels(site: ModelStack, colour: str) -> None:
    """In the order of their scores, the same over both protocols."""
    [told] = ASK["ask_rest"](f"127.0.0.1:{site.rest_port}", jpeg("#00ff00" if colour == "green" else colour))
    [labels] = ASK["ask_grpc"](f"127.0.0.1:{site.grpc_port}", jpeg("#00ff00" if colour == "green" else colour))

    assert told["labels"] == labels
    assert (labels[0], len(labels)) == (colour, 5)
    assert told["scores"] == sorted(told["scores"], reverse=True)


def test_pictures_of_several_callers_keep_their_answers(site: ModelStack) -> None:
    """Batched or not, whatever their sizes."""
    colours = ["red", "blue", "white", "black"] * 8
    pictures = [jpeg(one, (8 + place, 40)) for place, one in enumerate(colours)]

    with ThreadPoolExecutor(CLIENTS) as pool:
        asked = pool.map(lambda one: ASK["ask_grpc"](f"127.0.0.1:{site.grpc_port}", one), pictures)

    assert [labels for [[labels, *_]] in asked] == colours


def test_what_is_not_a_picture_is_the_callers_mistake_and_nobody_elses(site: ModelStack) -> None:
    """Requests that would have shared its batch are answered."""
    client = RestClient(site.rest_port)
    reply = client.post("/v1/models/colours:predict", {"instances": ["no picture"]})
    client.close()
    with ThreadPoolExecutor(CLIENTS) as pool:
        bodies = [jpeg("red"), b"\xff\xd8 broken", jpeg("blue"), b""]
        asked = [pool.submit(ASK["ask_grpc"], f"127.0.0.1:{site.grpc_port}", one) for one in bodies]
        outcomes = [one.exception(30) or one.result()[0][0] for one in asked]

    assert reply.status == 400
    assert "Hook preprocess of assets.extra/hooks.py:Hooks: not a picture: cannot identify" in reply.json["error"]
    assert (outcomes[0], outcomes[2]) == ("red", "blue")
    assert [one.code for one in (outcomes[1], outcomes[3])] == [Code.INVALID_ARGUMENT] * 2


def test_the_document_shows_the_hooks_as_they_are() -> None:
    """What a reader copies is what was tested."""
    hooks = (EXAMPLE / "colours" / "1" / "assets.extra" / "hooks.py").read_text(encoding="utf-8")

    assert f"```python\n{hooks}```" in (ROOT / "docs" / "hooks.md").read_text(encoding="utf-8")


def test_clients_are_shown_what_the_hooks_declare(site: ModelStack) -> None:
    """Over REST and gRPC."""
    rest = RestClient(site.rest_port)
    shown = rest.get("/v1/models/colours/metadata").json["metadata"]["signature_def"]["signature_def"]
    rest.close()
    request = serving_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    request.model_spec.name = "colours"
    with grpc.insecure_channel(f"127.0.0.1:{site.grpc_port}") as channel:
        call = channel.unary_unary("/tensorflow.serving.PredictionService/GetModelMetadata")
        answer = serving_pb2.GetModelMetadataResponse.FromString(call(request.SerializeToString(), timeout=30))
    signatures = serving_pb2.SignatureDefMap.FromString(answer.metadata["signature_def"].value)

    default = signatures.signature_def["serving_default"]
    assert (set(default.inputs), set(default.outputs)) == ({"jpeg"}, {"labels", "scores"})
    assert shown["serving_default"]["inputs"]["jpeg"]["dtype"] == "DT_STRING"
    assert [one["size"] for one in shown["serving_default"]["outputs"]["labels"]["tensor_shape"]["dim"]] == ["-1", "5"]
    assert "__saved_model_init_op" in shown
