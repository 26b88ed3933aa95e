"""The Open Inference Protocol beside TensorFlow Serving's in a running server: one data plane for both."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Self

import grpc
import numpy as np
import pytest

from core.recording.tf_record import records
from core.recording.warmup_file import FILE
from core.telemetry.metric_names import (
    BATCH_INPUT_SIZE,
    BATCH_RUN_COUNT,
    REQUEST_COUNT,
    REQUEST_LATENCY,
    RUNTIME_LATENCY,
    SIGNATURE_REQUESTS,
)
from deployments.cli import main
from ray_model_client import Client
from tests.integration.conftest import LiveServer
from tests.integration.test_metrics import Difference
from tests.support.clients import PAUSE_S, ClosedLoop, RestClient, wait_until
from tests.support.doors.infer_client import InferClient, RefusedInference
from tests.support.infer_bodies import FORMS
from tests.support.prediction_logs import read_logs
from tests.support.prometheus_page import scrape

FEATURES = np.linspace(0, 1, 32, dtype=np.float32).reshape(1, 32)
ROUNDS = 30
"""On a busy machine five requests may not come within the twenty milliseconds in which a batch is formed."""


@pytest.fixture
def infer(server: LiveServer) -> Iterator[InferClient]:
    """A client of both ports."""
    with InferClient(server.rest_port, server.grpc_port) as client:
        yield client


def askers(server: LiveServer, context: ExitStack) -> list[Callable[[], object]]:
    """Return one way to ask the batched model for each protocol and form, each on connections of its own."""
    rest = server.client()
    context.callback(rest.close)
    predictions = context.enter_context(Client(f"127.0.0.1:{server.grpc_port}"))
    asks: list[Callable[[], object]] = [
        lambda: rest.predict("batched", FEATURES.tolist()),
        lambda: predictions.predict("batched", {"features": FEATURES}),
    ]
    for form in FORMS:
        one = context.enter_context(InferClient(server.rest_port, server.grpc_port))
        asks.append(lambda one=one, form=form: one.infer(form, "batched", {"features": FEATURES}))
    return asks


def test_q_requests_of_every_protocol_share_a_run_in_a_server(server: LiveServer, client: RestClient) -> None:
    """Those that come at the same time: the server counts one run for all of them."""
    with ExitStack() as context:
        asks = askers(server, context)
        pool = context.enter_context(ThreadPoolExecutor(len(asks)))
        at_once = threading.Barrier(len(asks))

        def asked(ask: Callable[[], object]) -> object:
            at_once.wait(60)
            return ask()

        runs = []
        while 1 not in runs and len(runs) < ROUNDS:
            before = scrape(client)
            list(pool.map(asked, asks))
            seen = Difference(before, client)
            assert seen.comes_to(len(asks), BATCH_INPUT_SIZE, "_count")
            runs.append(seen.of(BATCH_RUN_COUNT))

    assert 1 in runs


def test_inferences_are_counted_beside_predictions(server: LiveServer, client: RestClient, infer: InferClient) -> None:
    """By the same metrics, under names of their own."""
    before = scrape(client)

    for form in FORMS:
        infer.infer(form, "half_plus_two", {"x": np.ones(1, np.float32)})
    with pytest.raises(RefusedInference):
        infer.infer("rest json", "half_plus_two", {"z": np.ones(1, np.float32)})

    seen = Difference(before, client)
    model = {"model_name": "half_plus_two"}
    of_version = {**model, "version": "1", "signature": "serving_default", "method": "ModelInfer", "status": "OK"}
    assert seen.comes_to(len(FORMS), SIGNATURE_REQUESTS, **of_version)
    assert seen.comes_to(len(FORMS), RUNTIME_LATENCY, "_count", **model, API="ModelInfer", runtime="TF1")
    assert seen.of(REQUEST_COUNT, **model, status="OK") == len(FORMS)
    assert seen.of(REQUEST_COUNT, **model, status="INVALID_ARGUMENT") == 1
    assert seen.of(REQUEST_LATENCY, "_count", **model, API="infer", entrypoint="REST") == 2
    assert seen.of(REQUEST_LATENCY, "_count", **model, API="ModelInfer", entrypoint="GRPC") == 2


def test_inferences_that_were_logged_warm_up_the_next_version(
    server: LiveServer, client: RestClient, infer: InferClient, base_path: Path, tmp_path: Path
) -> None:
    """Whichever form they came in: the next version answers them all before it serves."""
    folder = tmp_path / "logs"
    folder.mkdir()
    collector = f'log_collector_config {{ filename_prefix: "{folder}/counter" }}'
    server.copy_version("counter", 1, base_path)
    server.configure("logged", base_path, f"logging_config {{ {collector} sampling_config {{ sampling_rate: 1 }} }}")
    wait_until(lambda: client.available("logged") == {1}, "the first version answers")
    chosen = {"parameters": {"signature_name": "incr_counter_by"}, "outputs": ("output",)}

    def added(form: str, delta: float, version: str = "") -> float:
        outputs = infer.infer(form, "logged", {"delta": np.array(delta, np.float32)}, version=version, **chosen)
        return float(outputs["output"])

    def are_logged() -> bool:
        for number, form in enumerate(FORMS):
            added(form, 2.0**number)
        return len(read_logs(folder)) >= len(FORMS)

    wait_until(are_logged, "inferences are logged")

    aside = server.copy_version("counter", 1, tmp_path / "aside", 2)
    assert (
        main(["warmup-record", "--model", str(aside), "--log", *map(str, folder.glob("*.tfrecord")), "--dedupe"]) == 0
    )
    with (aside / FILE).open("rb") as stream:
        assert len(list(records(stream))) == len(FORMS)
    aside.rename(base_path / "2")
    wait_until(lambda: client.available("logged") == {2}, "the next version is warm")

    assert added("grpc raw", 0.0, "2") == sum(2.0**number for number in range(len(FORMS)))
    logged = read_logs(folder)[0]
    assert logged.log_metadata.model_spec.signature_name == "incr_counter_by"
    assert list(logged.predict_log.request.output_filter) == ["output"]
    server.remove("logged")


@pytest.mark.parametrize("form", FORMS)
def test_a_request_is_given_the_time_that_it_asks_for(infer: InferClient, form: str) -> None:
    """A twentieth of a second of a run that would take much longer; the caller would wait for a minute."""
    with pytest.raises(RefusedInference, match="Timed out waiting for notification") as refused:
        infer.infer(form, "slow", {"iterations": np.array(1_000_000, np.int32)}, parameters={"timeout": 50_000})

    assert refused.value.args[0] in {504, grpc.StatusCode.DEADLINE_EXCEEDED}


class InferLoop:
    """Clients that ask in each form, one request after the other, until the block ends."""

    def __init__(self, server: LiveServer, model: str) -> None:
        self._server, self._model = server, model
        self._stop = threading.Event()
        self.answers: dict[str, list[float]] = {form: [] for form in FORMS}
        self.failures: list[str] = []
        self._threads = [threading.Thread(target=self._run, args=(form,), daemon=True) for form in FORMS]

    def _run(self, form: str) -> None:
        with InferClient(self._server.rest_port, self._server.grpc_port) as client:
            while not self._stop.wait(PAUSE_S):
                try:
                    outputs = client.infer(form, self._model, {"x": np.array([2.0], np.float32)})
                except Exception as error:  # noqa: BLE001 - whatever it is, the client has not got its answer
                    self.failures.append(f"{form}: {error!r}")
                else:
                    self.answers[form].append(float(outputs["y"][0]))

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(60)


def test_no_request_of_either_protocol_fails_while_a_version_takes_over(
    server: LiveServer, client: RestClient, base_path: Path
) -> None:
    """Version 2 is loaded, version 1 unloaded and removed: every answer is one of theirs."""
    server.copy_version("half_plus_two_versions", 1, base_path)
    server.configure("changing", base_path)
    wait_until(lambda: client.available("changing") == {1}, "version 1 answers")

    with (
        ClosedLoop(server.rest_port, "/v1/models/changing:predict", {"instances": [2.0]}, clients=2) as predictions,
        InferLoop(server, "changing") as inferences,
    ):
        wait_until(lambda: all(inferences.answers.values()), "version 1 answers every form")
        server.copy_version("half_plus_two_versions", 2, base_path)
        wait_until(lambda: client.available("changing") == {2}, "version 2 has taken over")
        shutil.rmtree(base_path / "1")
        wait_until(
            lambda: all(answers[-1] == 3.0 for answers in inferences.answers.values()), "version 2 answers every form"
        )

    assert predictions.failures == []
    assert inferences.failures == []
    assert all({2.0, 3.0} == set(answers) for answers in inferences.answers.values())
    server.remove("changing")
