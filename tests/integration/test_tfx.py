"""TFX validates a model with this server as it does with TensorFlow Serving's image."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import grpc
import pytest

from core.protos import serving_pb2
from tests.support.clients import free_port, wait_until
from tests.support.infra_validator import (
    MODEL_NAME,
    STOPPED_WITHIN_S,
    VERSION,
    ModelState,
    answered,
    asked_state,
    environment,
    flags,
    requests,
)
from tests.support.served_models import example
from tests.support.zoo_models import ZooCall, zoo_calls, zoo_folder

SCRIPT = Path(sys.executable).with_name("ray_model_server")


def states_until_known(process: subprocess.Popen[bytes], channel: grpc.Channel) -> list[ModelState]:
    """Ask from the start on, as often as wanted, until the answer is final; returns all answers."""
    seen: list[ModelState] = []

    def is_known() -> bool:
        assert process.poll() is None, "the server has ended"
        seen.append(asked_state(channel))
        return seen[-1] is not ModelState.NOT_READY

    wait_until(is_known, "the model is validated", 240)
    return seen


@pytest.mark.timeout(400)
def test_infra_validator_blesses_a_model(tmp_path: Path) -> None:
    """From the first question, before the port is open, to the end of the container within the time that Docker gives."""
    (call,) = (one for one in zoo_calls() if one.model == "estimator_classifier")
    version = shutil.copytree(zoo_folder(call.model, call.version), tmp_path / MODEL_NAME / str(VERSION))
    for path in (*version.rglob("*"), version):
        path.chmod(0o555 if path.is_dir() else 0o444)
    before = {path: path.stat().st_ctime_ns for path in version.rglob("*")}
    variables, port = environment(), free_port()
    process = subprocess.Popen(
        [SCRIPT, *flags(variables, tmp_path, port, free_port())],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        env=os.environ | dict(variables) | {"RAY_AUTH_MODE": "token"}, process_group=0,
    )  # fmt: skip
    try:
        with grpc.insecure_channel(f"localhost:{port}") as channel:
            assert states_until_known(process, channel)[-1] is ModelState.READY
            expect_answers(channel, call)
        began_s = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0
        assert time.monotonic() - began_s < STOPPED_WITHIN_S
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(timeout=60)
    assert {path: path.stat().st_ctime_ns for path in version.rglob("*")} == before


def expect_answers(channel: grpc.Channel, call: ZooCall) -> None:
    """Send the requests that TFX makes of an example, and compare the answers with the exporter's."""
    first = example(**call.examples[0])
    scores = call.outputs["scores"][0]
    predicted, classified, regressed = (answered(channel, one) for one in requests(first.SerializeToString()))

    assert isinstance(predicted, serving_pb2.PredictResponse)
    assert isinstance(classified, serving_pb2.ClassificationResponse)
    assert isinstance(regressed, serving_pb2.RegressionResponse)
    assert list(predicted.outputs["probabilities"].float_val) == pytest.approx(scores)
    (row,) = classified.result.classifications
    assert [one.score for one in row.classes] == pytest.approx(scores)
    assert regressed.result.regressions[0].value == pytest.approx(scores[1])
