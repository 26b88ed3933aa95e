"""The OpenAPI document, and TensorFlow Serving's part of it."""

from __future__ import annotations

import functools
import json
from typing import Any

from core.openapi import status_schema
from core.openapi.infer_paths import MODEL_VERSION, infer_paths

Json = dict[str, Any]

MODEL: Json = {
    "name": "model",
    "in": "path",
    "required": True,
    "description": "Name of the model; reserved characters are percent-encoded.",
    "schema": {"type": "string", "pattern": "^[^/:?#]+$", "minLength": 1},
}
VERSION: Json = {
    "name": "version",
    "in": "path",
    "required": True,
    "schema": {"type": "integer", "format": "int64", "minimum": 0, "maximum": 2**63 - 1},
}
LABEL: Json = {**MODEL, "name": "label", "description": "A label of one of the model's versions."}

PLACES: tuple[tuple[str, list[Json]], ...] = (
    ("/v1/models/{model}", [MODEL]),
    ("/v1/models/{model}/versions/{version}", [MODEL, VERSION]),
    ("/v1/models/{model}/labels/{label}", [MODEL, LABEL]),
)

ERROR: Json = {"type": "object", "properties": {"error": {"type": "string"}}, "required": ["error"]}
SIGNATURE_NAME: Json = {"type": "string", "description": "Signature to call; without it, serving_default."}
EXAMPLES: Json = {
    "type": "object",
    "properties": {
        "signature_name": SIGNATURE_NAME,
        "context": {"type": "object"},
        "examples": {"type": "array", "minItems": 1, "items": {"type": "object"}},
    },
    "required": ["examples"],
}
REQUESTS: dict[str, Json] = {
    "predict": {
        "type": "object",
        "description": "Either `instances` (row format) or `inputs` (column format).",
        "properties": {
            "signature_name": SIGNATURE_NAME,
            "instances": {"type": "array", "minItems": 1, "items": {}},
            "inputs": {},
        },
        "oneOf": [{"required": ["instances"]}, {"required": ["inputs"]}],
    },
    "classify": EXAMPLES,
    "regress": EXAMPLES,
}
ANSWERS: dict[str, Json] = {
    "predict": {
        "type": "object",
        "properties": {"predictions": {"type": "array"}, "outputs": {}},
        "oneOf": [{"required": ["predictions"]}, {"required": ["outputs"]}],
    },
    "classify": {"type": "object", "properties": {"results": {"type": "array"}}, "required": ["results"]},
    "regress": {"type": "object", "properties": {"results": {"type": "array"}}, "required": ["results"]},
}
STATUS: Json = {
    "type": "object",
    "properties": {
        "model_version_status": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "version": {"type": "string"},
                    "state": {"enum": ["START", "LOADING", "AVAILABLE", "UNLOADING", "END"]},
                    "status": {"type": "object"},
                },
                "required": ["version", "state", "status"],
            },
        },
        "ready": {"type": "boolean"},
    },
    "required": ["model_version_status"],
}
METADATA: Json = {
    "type": "object",
    "properties": {"model_spec": {"type": "object"}, "metadata": {"type": "object"}},
    "required": ["model_spec", "metadata"],
}
DESCRIPTION = "TensorFlow Serving's REST API, and the Open Inference Protocol (version 2) of KServe and Triton."
SERVER_TAG = "Server"
API_TAG = "TensorFlow Serving's REST API"
ANY_OBJECT: Json = {"type": "object"}
SECURITY_SCHEMES: Json = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "apiKey": {"type": "apiKey", "in": "header", "name": "x-api-key"},
}
SECURITY: list[Json] = [{}, {"bearer": []}, {"apiKey": []}]
"""Without an access file nothing is wanted; with one, either header has the token."""

OPEN_PATHS = frozenset({"/healthz"})
"""Paths that are answered whoever asks."""

CLIENT_ERRORS = ("400", "404", "413", "429", "501", "503", "504")


def document() -> Json:
    """Describe every path of the APIs, and of the state of the server."""
    paths: dict[str, Json] = {
        "/v1/models": {"get": _operation("List all models", ANY_OBJECT, [])},
        "/healthz": {"get": _operation("Whether the process answers", ANY_OBJECT, [])},
        "/readyz": {"get": _operation("Whether requests should be sent here", ANY_OBJECT, [])},
        "/status.json": {"get": _operation("Everything about the state of the server", status_schema.STATUS, [])},
    }
    for place, parameters in PLACES:
        paths[place] = {"get": _operation("Status of the versions", STATUS, parameters)}
        paths[f"{place}/metadata"] = {"get": _operation("Signatures of a version", METADATA, parameters)}
        for verb, request in REQUESTS.items():
            paths[f"{place}:{verb}"] = {
                "post": _operation(f"{verb.capitalize()} with a version", ANSWERS[verb], parameters, request)
            }
    paths |= infer_paths()
    for path in paths.keys() - OPEN_PATHS:
        _guard(paths[path])
    return {
        "openapi": "3.1.0",
        "info": {"title": "Ray Model Server", "version": "1", "description": DESCRIPTION},
        "security": SECURITY,
        "components": {"securitySchemes": SECURITY_SCHEMES},
        "paths": paths,
    }


def _guard(operations: Json) -> None:
    """Add the answers to callers who may not do what they ask."""
    for operation in operations.values():
        responses = operation["responses"]
        responses.setdefault("401", _json("The access file wants a token, or does not know this one.", ERROR))
        responses.setdefault("403", _json("The access file does not allow it to this caller.", ERROR))


def _operation(summary: str, answer: Json, parameters: list[Json], request: Json | None = None) -> Json:
    responses = {"200": _json("The answer.", answer)}
    responses |= {code: _json("The error.", ERROR) for code in CLIENT_ERRORS if parameters}
    tag = API_TAG if parameters else SERVER_TAG
    operation: Json = {"summary": summary, "tags": [tag], "parameters": parameters, "responses": responses}
    if request is not None:
        responses["200"]["headers"] = MODEL_VERSION
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": request}}}
    return operation


def _json(description: str, schema: Json) -> Json:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


@functools.cache
def openapi_body() -> bytes:
    """Return the document as JSON."""
    return json.dumps(document(), indent=1).encode()
