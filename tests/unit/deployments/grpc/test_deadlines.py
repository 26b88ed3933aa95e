"""How long a call may take and wait: the caller's deadline and cancellation, from the channel down to TensorFlow."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest

from core.errors import Code
from core.inference.tensor_proto import to_proto
from core.protos import serving_pb2
from core.telemetry.metric_names import DROPPED_REQUESTS
from deployments.telemetry.process_metrics import METRICS
from tests.support.clients import wait_until
from tests.support.doors.grpc_stack import GrpcStack

PREDICT = "/tensorflow.serving.PredictionService/Predict"
FOR_EVER = 2**31 - 1
"""Rounds that take TensorFlow hours."""


def predict_request(iterations: int) -> bytes:
    request = serving_pb2.PredictRequest()
    request.model_spec.name = "slow"
    request.inputs["iterations"].CopyFrom(to_proto(np.array(iterations, np.int32)))
    return request.SerializeToString()


def dropped(reason: str) -> float:
    return METRICS.counter(DROPPED_REQUESTS, "slow", reason).value


@pytest.fixture
def stack(saved_models: Path) -> Iterator[GrpcStack]:
    """A server with a slow model and one thread for it."""
    with GrpcStack(saved_models, {"slow": 1}, threads=1) as running:
        yield running


@pytest.fixture
def predict(stack: GrpcStack) -> Iterator[grpc.UnaryUnaryMultiCallable]:
    with grpc.insecure_channel(f"127.0.0.1:{stack.port}") as channel:
        yield channel.unary_unary(PREDICT)


def test_the_deadline_of_a_call_ends_its_run(stack: GrpcStack, predict: grpc.UnaryUnaryMultiCallable) -> None:
    """It travels to the model server, where it is TensorFlow's own time-out: the thread is free again."""
    predict(predict_request(1), timeout=60)  # connected, so that the time is the run's
    before = dropped("expired")

    with pytest.raises(grpc.RpcError) as caught:
        predict(predict_request(FOR_EVER), timeout=2)

    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    wait_until(lambda: stack.executions["slow"].in_flight == 0, "the run has ended")
    predict(predict_request(1), timeout=60)
    assert dropped("expired") == before


def test_a_run_that_is_out_of_time_says_so_in_tensorflows_words(stack: GrpcStack) -> None:
    """Whoever still listens gets TensorFlow's code and text."""
    answer = stack.run(stack.api.answer("Predict", predict_request(FOR_EVER), 2.0))

    assert (answer.code, answer.message) == (Code.DEADLINE_EXCEEDED, "Timed out waiting for notification")


def test_a_call_without_a_deadline_has_none(predict: grpc.UnaryUnaryMultiCallable) -> None:
    """A run may take as long as it takes."""
    answer = serving_pb2.PredictResponse.FromString(predict(predict_request(20_000)))

    assert answer.outputs["rounds"].int_val == [20_000]


def test_a_call_that_is_cancelled_while_it_waits_is_dropped_and_counted(
    stack: GrpcStack, predict: grpc.UnaryUnaryMultiCallable
) -> None:
    """It never reaches TensorFlow."""
    execution, before = stack.executions["slow"], dropped("cancelled")
    running = predict.future(predict_request(FOR_EVER), timeout=5)
    wait_until(lambda: execution.in_flight == 1, "the first call runs")
    waiting = predict.future(predict_request(FOR_EVER))
    wait_until(lambda: execution.in_flight == 2, "the second call waits")

    waiting.cancel()

    wait_until(lambda: dropped("cancelled") == before + 1, "the drop is counted")
    assert execution.in_flight == 1
    assert not running.done()
    wait_until(lambda: execution.in_flight == 0, "the first run has ended")


def test_a_call_that_expires_while_it_waits_is_dropped_and_counted(
    stack: GrpcStack, predict: grpc.UnaryUnaryMultiCallable
) -> None:
    """Nobody works for a caller who has given up."""
    execution, before = stack.executions["slow"], dropped("expired")
    running = predict.future(predict_request(FOR_EVER), timeout=6)
    wait_until(lambda: execution.in_flight == 1, "the first call runs")
    waiting = predict.future(predict_request(FOR_EVER), timeout=2)
    wait_until(lambda: execution.in_flight == 2, "the second call waits")

    assert waiting.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    wait_until(lambda: dropped("expired") == before + 1, "the drop is counted")
    assert not running.done()
    wait_until(lambda: execution.in_flight == 0, "the first run has ended")
