"""What a gRPC call needs."""

from __future__ import annotations

import pytest

from core.access.rights import INFER, METADATA, STATES
from core.errors import InvalidArgument
from core.grpc.rights import OPEN, RULES
from core.protos import serving_pb2
from deployments.grpc.api import SERVICES, TOKEN_SERVICE
from deployments.oip.grpc_rights import OIP_RULES
from deployments.oip.serve_proxy import OIP_METHODS

PREDICTION = "/tensorflow.serving.PredictionService/"


def test_every_method_that_is_served_has_its_rule() -> None:
    """One that is forgotten needs the right to everything, which is safe and not what is meant."""
    served = {
        f"/{service}/{one}" for service, methods in SERVICES.items() for one in methods if service != TOKEN_SERVICE
    }

    assert served <= RULES.keys()
    assert set(OIP_METHODS) <= {path.rpartition("/")[2] for path in OIP_RULES}
    assert OPEN not in (*RULES.values(), *OIP_RULES.values())


@pytest.mark.parametrize(
    ("path", "right"),
    [
        (f"{PREDICTION}Predict", INFER),
        (f"{PREDICTION}Classify", INFER),
        (f"{PREDICTION}Regress", INFER),
        (f"{PREDICTION}GetModelMetadata", METADATA),
        ("/tensorflow.serving.SessionService/SessionRun", INFER),
        ("/tensorflow.serving.ModelService/GetModelStatus", STATES),
    ],
)
def test_a_message_names_the_model(path: str, right: object) -> None:
    """As the handler of the method reads it."""
    rule = RULES[path]
    assert rule.by_message is not None
    request = serving_pb2.PredictRequest(model_spec={"name": "m"}).SerializeToString()

    assert rule.right == right
    assert rule.by_message(request) == (rule.right.of("m"),)
    with pytest.raises(InvalidArgument):
        rule.by_message(b"\xff")


def test_each_task_of_a_multi_inference_names_a_model() -> None:
    """Each once, however many tasks there are."""
    request = serving_pb2.SerializedMultiInferenceRequest()
    for name in ("a", "b", "a"):
        request.tasks.add().model_spec.name = name
    by_message = RULES[f"{PREDICTION}MultiInference"].by_message
    assert by_message is not None

    assert by_message(request.SerializeToString()) == (INFER.of("a"), INFER.of("b"))
