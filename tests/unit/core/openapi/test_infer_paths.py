"""The Open Inference Protocol's part of the OpenAPI document: paths that exist, schemas that hold."""

from __future__ import annotations

import json

import jsonschema
import numpy as np
import pytest

from core.inference.signature import Signature
from core.oip.json_request import plan_json_infer
from core.oip.metadata import MetadataQuery, metadata_json, server_metadata
from core.oip.path import parse_oip_request
from core.oip.rest_body import ALL_JSON, cut_footer, footer
from core.openapi.document import document
from core.openapi.infer_paths import ERROR, ERRORS, INFER_ANSWER, INFER_REQUEST, METADATA, SERVER, infer_paths
from tests.support.served_models import answer, half_plus_two, spec, with_signature
from tests.unit.core.openapi.test_document import schema

BODY = {"id": "1", "inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 1], "data": [1.0]}]}


@pytest.mark.parametrize("path", infer_paths())
def test_every_described_path_is_one_of_the_server(path: str) -> None:
    """With its method."""
    (method,) = infer_paths()[path]

    parse_oip_request(method.upper(), path.format(model="m", version="1", label="l"))


def test_the_document_has_the_paths_of_both_protocols() -> None:
    """Each once, and it is a schema that tools can read."""
    paths = document()["paths"]

    assert infer_paths().keys() <= paths.keys()
    assert any(path.startswith("/v1/") for path in paths)
    for one in (INFER_REQUEST, INFER_ANSWER, METADATA, SERVER, ERROR):
        jsonschema.Draft202012Validator.check_schema(one)


def test_a_request_and_its_answer_fit_the_schemas() -> None:
    """What is described is what is taken and given."""
    jsonschema.validate(BODY, INFER_REQUEST)
    plan = plan_json_infer(half_plus_two(), json.dumps(BODY).encode() + footer(ALL_JSON))
    body, _ = cut_footer(answer(plan, {"y:0": np.array([[3.0]], np.float32)}))
    jsonschema.validate(json.loads(body), INFER_ANSWER)


def test_metadata_fits_its_schema() -> None:
    """With tensors of unknown rank, too."""
    model = with_signature(Signature({"x": spec("x:0", shape=None)}, {"y": spec("y:0")}))
    jsonschema.validate(json.loads(metadata_json(model, MetadataQuery(("1",)).to_bytes())), METADATA)
    jsonschema.validate(server_metadata("1", ("parameters",)), SERVER)


@pytest.mark.parametrize(
    "body",
    [{}, {"inputs": []}, {"inputs": [{"name": "x"}]}, {**BODY, "id": 1}, {**BODY, "outputs": [{}]}],
    ids=["nothing", "no inputs", "no shape", "a number as id", "an output without a name"],
)
def test_a_body_that_the_server_refuses_does_not_fit_the_schema(body: dict) -> None:
    """So far as a schema can say."""
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(body, INFER_REQUEST)


def test_inference_is_described_with_both_kinds_of_bodies() -> None:
    """JSON, and JSON with raw tensors behind it."""
    operation = infer_paths()["/v2/models/{model}/infer"]["post"]

    assert set(operation["requestBody"]["content"]) == {"application/json", "application/octet-stream"}
    assert set(operation["responses"]["200"]["content"]) == {"application/json", "application/octet-stream"}
    assert all(schema(operation["responses"][status]) == ERROR for status in ERRORS)
