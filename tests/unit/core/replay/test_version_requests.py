"""Tests of recorded requests to one version."""

from __future__ import annotations

import pytest

from core.errors import InvalidArgument
from core.protos import serving_pb2
from core.replay.version_requests import request_for
from core.routing.transport import Call, Method
from tests.support.prediction_logs import multi_inference_log, predict_request


def test_a_request_names_the_model_and_version_that_it_is_put_to() -> None:
    """Whatever it named before, a label too; its signature stays."""
    recorded = predict_request(1.0, signature="s", name="other")
    recorded.model_spec.version_label = "stable"

    found = serving_pb2.PredictRequest.FromString(
        request_for(Call(Method.PREDICT, recorded.SerializeToString()), "m", 8)
    )

    assert found.model_spec == serving_pb2.ModelSpec(name="m", version={"value": 8}, signature_name="s")
    assert found.inputs == recorded.inputs


def test_each_task_of_a_multi_inference_names_them() -> None:
    """There the model is named by each task."""
    body = multi_inference_log(1.0).multi_inference_log.request.SerializeToString()

    found = serving_pb2.MultiInferenceRequest.FromString(request_for(Call(Method.MULTI_INFERENCE, body), "m", 8))

    assert {(one.model_spec.name, one.model_spec.version.value) for one in found.tasks} == {("m", 8)}
    assert [one.model_spec.signature_name for one in found.tasks] == ["regress_x_to_y", "classify_x_to_y"]


def test_a_request_that_cannot_be_parsed_is_refused() -> None:
    """Nothing is sent that nobody understands."""
    with pytest.raises(InvalidArgument):
        request_for(Call(Method.PREDICT, b"\xff"), "m", 8)
