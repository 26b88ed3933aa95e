"""Calls of models with hooks in executions: deadlines of hooks that hang, batches, and who gets which error."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from core.config.model_config import BatchingParameters
from core.errors import Code
from core.inference.signature import ServedModel, Signature
from core.platforms.hooked_signature import HookContext, HookDeclaration
from core.versions.servable import ServableId
from deployments.inference.batched_execution import BatchedExecution
from deployments.inference.foreign_execution import ForeignExecution
from deployments.platforms.hook_class import LoadedHooks
from deployments.platforms.hooked import HookedModel, with_hooks
from ray_model_client import Client, ServerError
from tests.support.clients import RestClient
from tests.support.doors.infer_client import InferClient, RefusedInference
from tests.support.doors.model_stack import ModelStack
from tests.support.fakes import FakeLoaded
from tests.support.hook_files import hook_spec
from tests.support.infer_bodies import FORMS
from tests.support.served_models import spec
from tests.unit.deployments.inference.test_batcher import directly

BATCHING = BatchingParameters(
    8, batch_timeout_micros=20_000, num_batch_threads=2, allowed_batch_sizes=(4, 8), max_enqueued_batches=100
)
SERVABLE = ServableId("m", 1)
CALLERS = 8
Arrays = Mapping[str, Any]


class Sleeper:
    """Hooks that wait where the text says so, until the test ends; counts the rows of each call."""

    def __init__(self) -> None:
        self.ends = threading.Event()
        self.rows: list[int] = []
        self.left_s: list[float | None] = []

    def preprocess(self, inputs: Arrays, context: HookContext) -> Arrays:
        self.rows.append(len(inputs["text"]))
        self.left_s.append(context.left_s)
        if b"hang" in inputs["text"].tolist():
            self.ends.wait(60)
        return {"x": [[float(one)] for one in inputs["text"]]}

    def postprocess(self, outputs: Arrays, context: HookContext) -> Arrays:
        texts = [f"{one[0]:.1f}" for one in outputs["y"]]
        return {"answer": [*texts, "more"] if "9.0" in texts else texts}


def model_of(hooks: Sleeper) -> HookedModel:
    """Put the hooks around y = x / 2 + 2."""
    signatures = {
        "serving_default": Signature({"x": spec("x:0")}, {"y": spec("y:0")}),
        "plain": Signature({"x": spec("x:0")}, {"y": spec("y:0")}),
    }
    sides = {"inputs": {"text": ("string", (None,))}, "outputs": {"answer": ("string", (None,))}}
    declaration = HookDeclaration("Hook h:H", **sides, has_preprocess=True, has_postprocess=True)
    loaded = LoadedHooks("h:H", declaration, hooks.preprocess, hooks.postprocess)
    return with_hooks(FakeLoaded(ServedModel("m", 1, signatures)), loaded, hook_spec(Path("/m/1")))


@pytest.fixture
def hooks() -> Iterator[Sleeper]:
    """Hooks whose waits end with the test."""
    hooks = Sleeper()
    yield hooks
    hooks.ends.set()


@pytest.fixture(params=["alone", "batched"])
def site(request: pytest.FixtureRequest, hooks: Sleeper) -> Iterator[ModelStack]:
    """A router and a model server with the hooked model."""
    model = model_of(hooks)
    batched = request.param == "batched"
    execution = BatchedExecution(model, BATCHING, through=directly) if batched else ForeignExecution(model, 2)
    with ModelStack({SERVABLE: execution}) as stack:
        yield stack
        hooks.ends.set()


def ask(site: ModelStack, *texts: str, timeout_s: float = 60.0) -> list[bytes]:
    """Ask over gRPC."""
    with Client(f"127.0.0.1:{site.grpc_port}") as client:
        return client.predict("m", {"text": list(texts)}, timeout_s=timeout_s)["answer"].tolist()


every_form = pytest.mark.parametrize("form", FORMS)


def infer(site: ModelStack, form: str, *texts: str, **parameters: int) -> list[bytes]:
    """Ask by the Open Inference Protocol."""
    with InferClient(site.rest_port, site.grpc_port) as client:
        sent = {"text": np.array([text.encode() for text in texts], object)}
        return client.infer(form, "m", sent, parameters=parameters)["answer"].tolist()


@every_form
def test_hooks_are_called_for_inferences_of_the_open_inference_protocol(site: ModelStack, form: str) -> None:
    """Their inputs are those of the protocol, and their outputs the answer."""
    assert infer(site, form, "4", "8") == [b"4.0", b"6.0"]


@every_form
def test_an_inference_that_a_hook_refuses_gets_its_text(site: ModelStack, form: str) -> None:
    """As a prediction does."""
    with pytest.raises(RefusedInference, match="Hook preprocess of h:H: could not convert") as refused:
        infer(site, form, "four")

    assert refused.value.args[0] in {400, grpc.StatusCode.INVALID_ARGUMENT}


@every_form
def test_a_hook_knows_the_time_that_a_request_gives_itself(site: ModelStack, hooks: Sleeper, form: str) -> None:
    """What is left of it, where the caller would wait longer."""
    assert infer(site, form, "4", timeout=20_000_000) == [b"4.0"]

    (left_s,) = hooks.left_s
    assert 0 < left_s <= 20


@every_form
def test_inferences_of_other_signatures_pass_the_hooks(site: ModelStack, hooks: Sleeper, form: str) -> None:
    """By the model's own inputs."""
    with InferClient(site.rest_port, site.grpc_port) as client:
        x = {"x": np.array([[4.0]], np.float32)}
        answer = client.infer(form, "m", x, parameters={"signature_name": "plain"})

    assert answer["y"].tolist() == [[4.0]]
    assert hooks.rows == []


def test_a_caller_of_a_hook_that_hangs_hears_of_it_at_its_deadline(site: ModelStack) -> None:
    """Others are answered meanwhile."""
    with pytest.raises(ServerError) as raised:
        ask(site, "hang", timeout_s=0.5)

    assert raised.value.code == Code.DEADLINE_EXCEEDED
    assert ask(site, "4") == [b"4.0"]


def test_callers_with_bad_texts_are_the_only_ones_to_hear_of_them(site: ModelStack) -> None:
    """Whoever shared a batch with them."""

    def outcome(text: str) -> list[bytes] | Code:
        try:
            return ask(site, text)
        except ServerError as error:
            return error.code

    with ThreadPoolExecutor(CALLERS) as pool:
        outcomes = list(pool.map(outcome, ["4", "four", "8", "", "10", "12"] * 4))

    bad = Code.INVALID_ARGUMENT
    assert outcomes == [[b"4.0"], bad, [b"6.0"], bad, [b"7.0"], [b"8.0"]] * 4


def test_other_signatures_are_called_as_before(site: ModelStack) -> None:
    """By their own inputs."""
    client = RestClient(site.rest_port)
    reply = client.post("/v1/models/m:predict", {"signature_name": "plain", "instances": [[4.0]]})
    client.close()

    assert reply.json == {"predictions": [[4.0]]}


def test_hooks_see_the_rows_of_a_batch(hooks: Sleeper) -> None:
    """Filled up to an allowed size, as the model sees them."""
    with ModelStack({SERVABLE: BatchedExecution(model_of(hooks), BATCHING, through=directly)}) as site:
        assert ask(site, "4", "8", "10") == [b"4.0", b"6.0", b"7.0"]

    assert hooks.rows == [4]


def test_postprocess_must_return_a_row_for_each_row_of_a_batch(hooks: Sleeper) -> None:
    """Nobody could say whose the others are; without batching they are the caller's."""
    with ModelStack({SERVABLE: BatchedExecution(model_of(hooks), BATCHING, through=directly)}) as site:
        with pytest.raises(ServerError, match="0th dimension does not equal the sum") as raised:
            ask(site, "14")
        assert ask(site, "4") == [b"4.0"]
    with ModelStack({SERVABLE: ForeignExecution(model_of(hooks), 2)}) as site:
        assert ask(site, "14") == [b"9.0", b"more"]

    assert raised.value.code == Code.FAILED_PRECONDITION
