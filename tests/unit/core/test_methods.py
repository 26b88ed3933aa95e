"""Which function answers which method, and how an operator's choices reach it."""

from __future__ import annotations

import json

import numpy as np
import pytest

from core.config.server_settings import AnswerSettings
from core.errors import Internal
from core.grpc.written_requests import Target, predict_request
from core.inference.signature import Signature
from core.methods import RESPONDERS, planners
from core.protos import serving_pb2
from core.routing.transport import Method
from tests.support.infer_bodies import json_infer, raw_grpc_infer
from tests.support.served_models import answer, half_plus_two, spec, with_signature

ODD = with_signature(Signature({"x": spec("x:0")}, {"y": spec("y:0")}, "odd/method"))
Y = np.array([[3.0]], np.float32)


def test_every_method_is_answered_in_one_way() -> None:
    """By a run of the model or from its description; counts and copies are answered beside the model."""
    planned, told = set(planners(AnswerSettings())), set(RESPONDERS)

    assert not planned & told
    assert planned | told == set(Method) - {Method.METRICS, Method.COMPARE, Method.OBSERVE}


@pytest.mark.parametrize("as_content", [False, True])
def test_the_operator_chooses_how_tensors_are_sent(as_content) -> None:
    """As typed lists or as raw content."""
    planner = planners(AnswerSettings(as_tensor_content=as_content))[Method.PREDICT]

    plan = planner(half_plus_two(), predict_request(Target("h2"), {"x": Y}))

    response = serving_pb2.PredictResponse.FromString(answer(plan, {"y:0": Y}))
    assert bool(response.outputs["y"].tensor_content) is as_content


@pytest.mark.parametrize(
    ("method", "body"),
    [
        (Method.PREDICT, predict_request(Target("m"), {"x": Y})),
        (Method.REST_PREDICT, b'{"instances": [1]}'),
        (Method.OIP_REST_INFER, json_infer({"x": Y})),
        (Method.OIP_INFER, raw_grpc_infer({"x": Y})),
    ],
    ids=lambda value: value.name if isinstance(value, Method) else "",
)
def test_the_operator_chooses_whether_method_names_are_checked(method: Method, body: bytes) -> None:
    """For all protocols alike."""
    assert planners(AnswerSettings())[method](ODD, body).feeds
    with pytest.raises(Internal, match="odd/method"):
        planners(AnswerSettings(check_method_name=True))[method](ODD, body)


def test_metadata_needs_no_run() -> None:
    """The description of the model is the answer."""
    body = RESPONDERS[Method.REST_METADATA](half_plus_two(), b"")

    assert json.loads(body)["model_spec"]["name"] == "h2"
