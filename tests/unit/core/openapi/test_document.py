"""The OpenAPI document: it names exactly the paths that the server answers, and its schemas hold for real bodies."""

from __future__ import annotations

import json

import jsonschema
import numpy as np
import pytest

from core.inference.run_plan import RunPlan
from core.openapi.document import CLIENT_ERRORS, ERROR, PLACES, document, openapi_body
from core.rest import examples as rest_examples
from core.rest import predict as rest_predict
from tests.support.served_models import answer, half_plus_two

BODIES = {
    "predict": [b'{"instances": [[1.0]]}', b'{"inputs": {"x": [1]}, "signature_name": ""}'],
    "classify": [b'{"signature_name": "classify_x_to_y", "examples": [{"x": 1.0}]}'],
    "regress": [b'{"signature_name": "regress_x_to_y", "context": {"z": 1}, "examples": [{"x": 1.0}]}'],
}
CASES = [(verb, body) for verb, bodies in BODIES.items() for body in bodies]
"""Bodies of every verb that the server takes."""


def operation(verb: str) -> dict:
    """Return the description of a verb."""
    return document()["paths"][f"/v1/models/{{model}}:{verb}"]["post"]


def schema(content: dict) -> dict:
    """Return the schema of a body."""
    return content["content"]["application/json"]["schema"]


def planned(verb: str, body: bytes) -> RunPlan:
    """Plan a body as the model server does."""
    planner = {
        "predict": rest_predict.plan_predict,
        "classify": rest_examples.plan_classify,
        "regress": rest_examples.plan_regress,
    }[verb]
    return planner(half_plus_two(), body)


def test_the_body_is_the_document_as_json() -> None:
    """It is made once."""
    assert json.loads(openapi_body()) == document()
    assert openapi_body() is openapi_body()


def test_every_place_has_status_metadata_and_every_verb() -> None:
    """For a model, for a version and for a label."""
    paths = document()["paths"]
    for place, _ in PLACES:
        assert {"get"} == set(paths[place]) == set(paths[f"{place}/metadata"])
        assert all("post" in paths[f"{place}:{verb}"] for verb in BODIES)


def test_every_parameter_of_a_path_is_described() -> None:
    """And no other."""
    for path, operations in document()["paths"].items():
        for one in operations.values():
            named = [parameter["name"] for parameter in one["parameters"] if parameter["in"] == "path"]
            assert [f"{{{name}}}" for name in named] == [
                part for part in path.replace(":", "/").split("/") if part.startswith("{")
            ]


@pytest.mark.parametrize(("verb", "body"), CASES)
def test_the_schemas_hold_for_bodies_and_answers_of_the_server(verb, body) -> None:
    """What is described is what is taken and given."""
    jsonschema.validate(json.loads(body), schema(operation(verb)["requestBody"]))
    written = answer(planned(verb, body), {"y:0": np.array([[3.0]], np.float32)})
    jsonschema.validate(json.loads(written), schema(operation(verb)["responses"]["200"]))


@pytest.mark.parametrize(
    ("verb", "body"),
    [("predict", {}), ("predict", {"instances": [1], "inputs": [1]}), ("predict", {"instances": []}), ("regress", {})],
)
def test_a_body_that_the_server_refuses_does_not_fit(verb, body) -> None:
    """So far as a schema can say."""
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(body, schema(operation(verb)["requestBody"]))


def test_errors_are_described_where_a_model_is_named() -> None:
    """With one schema for all."""
    responses = operation("predict")["responses"]

    assert set(responses) == {"200", "401", "403", *CLIENT_ERRORS}
    assert all(schema(responses[code]) == ERROR for code in CLIENT_ERRORS)


def test_callers_learn_how_to_show_a_token() -> None:
    """Generated clients and the viewer send it; what is answered to everyone has no refusal."""
    described = document()

    assert set(described["components"]["securitySchemes"]) == {"bearer", "apiKey"}
    assert {} in described["security"], "without an access file nothing is wanted"
    for path, operations in described["paths"].items():
        for operation in operations.values():
            assert ({"401", "403"} <= operation["responses"].keys()) == (path != "/healthz")
