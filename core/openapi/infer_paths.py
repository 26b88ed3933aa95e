"""The Open Inference Protocol's part of the document: its paths, with JSON bodies and those of the binary extension."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from core.oip.datatypes import NUMPY_OF
from core.oip.rest_body import JSON_LENGTH_HEADER

Json = dict[str, Any]

TAG: Final = "Open Inference Protocol"
MODEL: Final[Json] = {
    "name": "model",
    "in": "path",
    "required": True,
    "description": "Name of the model; reserved characters are percent-encoded.",
    "schema": {"type": "string", "pattern": "^[^/?#]+$", "minLength": 1},
}
LABEL: Final[Json] = {**MODEL, "name": "label", "description": "A label of one of the model's versions."}
VERSION: Final[Json] = {
    "name": "version",
    "in": "path",
    "required": True,
    "schema": {"type": "integer", "format": "int64", "minimum": 0, "maximum": 2**63 - 1},
}
SIGNATURE: Final[Json] = {
    "name": "signature_name",
    "in": "query",
    "description": "Signature that is described; without it, serving_default.",
    "schema": {"type": "string"},
}
STRICT: Final[Json] = {
    "name": "strict",
    "in": "query",
    "description": "Whether each version of each model must be ready.",
    "schema": {"type": "boolean"},
}
JSON_LENGTH: Final[Json] = {
    "name": JSON_LENGTH_HEADER,
    "in": "header",
    "description": "Bytes of the JSON at the begin of a body that has raw tensors behind it.",
    "schema": {"type": "integer", "minimum": 0},
}
PLACES: Final[Sequence[tuple[str, list[Json]]]] = (
    ("/v2/models/{model}", [MODEL]),
    ("/v2/models/{model}/versions/{version}", [MODEL, VERSION]),
    ("/v2/models/{model}/labels/{label}", [MODEL, LABEL]),
)

TEXT: Final[Json] = {"type": "string"}
SHAPE: Final[Json] = {"type": "array", "items": {"type": "integer", "format": "int64"}}
PARAMETERS: Final[Json] = {"type": "object"}

MODEL_VERSION: Json = {
    "X-Model-Version": {
        "description": "The version that answered.",
        "schema": {"type": "string", "pattern": "^[0-9]+$"},
    }
}
"""The header of answers that a version gave."""


def _object(properties: Json, required: Sequence[str] | None = None) -> Json:
    return {"type": "object", "properties": properties, "required": list(properties if required is None else required)}


def _list(items: Json, **more: Any) -> Json:
    return {"type": "array", "items": items, **more}


ERROR: Final = _object({"error": TEXT})
REASONS: Final = _list(TEXT)
LIVE: Final = _object({"live": {"const": True}})
READY: Final = _object({"ready": {"const": True}})
NOT_READY: Final = _object({"ready": {"const": False}, "reasons": REASONS})
SERVER: Final = _object({"name": TEXT, "version": TEXT, "extensions": _list(TEXT)})
MODELS: Final = _object({"models": _list(TEXT)})
MODEL_READY: Final = _object({"name": TEXT, "ready": {"type": "boolean"}})
TENSOR: Final = _object(
    {"name": TEXT, "datatype": TEXT, "shape": SHAPE, "parameters": PARAMETERS}, ("name", "datatype", "shape")
)
METADATA: Final = _object(
    {"name": TEXT, "versions": _list(TEXT), "platform": TEXT, "inputs": _list(TENSOR), "outputs": _list(TENSOR)}
)
DATA: Final[Json] = {"description": "Elements in row-major order, flat or nested."}
INPUT: Final = _object(
    {
        "name": TEXT,
        "shape": _list({"type": "integer", "minimum": 0}),
        "datatype": {"enum": sorted(NUMPY_OF)},
        "parameters": PARAMETERS,
        "data": DATA,
    },
    ("name", "shape", "datatype"),
)
OUTPUT: Final = _object({"name": TEXT, "parameters": PARAMETERS}, ("name",))
INFER_REQUEST: Final = _object(
    {"id": TEXT, "parameters": PARAMETERS, "inputs": _list(INPUT, minItems=1), "outputs": _list(OUTPUT)}, ("inputs",)
)
ANSWERED: Final = _object(
    {"name": TEXT, "datatype": TEXT, "shape": SHAPE, "parameters": PARAMETERS, "data": {"type": "array"}},
    ("name", "datatype", "shape"),
)
INFER_ANSWER: Final = _object(
    {"id": TEXT, "model_name": TEXT, "model_version": TEXT, "parameters": PARAMETERS, "outputs": _list(ANSWERED)},
    ("model_name", "model_version", "outputs"),
)

COUNT: Final[Json] = {"type": "integer", "minimum": 0}
STATISTICS: Final = _object(
    {"model_stats": _list(_object({"name": TEXT, "version": TEXT, "inference_count": COUNT, "execution_count": COUNT}))}
)
INDEX_REQUEST: Final = _object({"ready": {"type": "boolean"}}, ())
INDEX: Final = _list(
    _object(
        {
            "name": TEXT,
            "version": TEXT,
            "state": {"enum": ["READY", "LOADING", "UNLOADING", "UNAVAILABLE"]},
            "reason": TEXT,
        },
        ("name",),
    )
)
ANY_OBJECT: Final[Json] = {"type": "object"}

ERRORS: Final = ("400", "404", "413", "429", "500", "501", "503", "504")
WRONG_METHOD: Final = "405"
FORBIDDEN: Final = "403"


def infer_paths() -> dict[str, Json]:
    """Describe every path of version 2."""
    paths: dict[str, Json] = {
        "/v2": {"get": _get("Name, version and extensions of the server", SERVER)},
        "/v2/health/live": {"get": _get("Whether the process answers", LIVE)},
        "/v2/health/ready": {"get": _ready()},
        "/v2/models": {"get": _get("Names of all models", MODELS)},
        "/v2/models/stats": {"get": _of_model("Statistics of all models", STATISTICS, [])},
        "/v2/repository/index": {"post": _repository("All versions and their states", INDEX, [], INDEX_REQUEST)},
        **{
            f"/v2/repository/models/{{model}}/{what}": {
                "post": _repository(f"{what.capitalize()} a model", None, [MODEL], ANY_OBJECT)
            }
            for what in ("load", "unload")
        },
    }
    for place, parameters in PLACES:
        paths[place] = {"get": _of_model("Inputs and outputs of a model", METADATA, [*parameters, SIGNATURE])}
        paths[f"{place}/ready"] = {"get": _of_model("Whether a version of a model answers", MODEL_READY, parameters)}
        paths[f"{place}/stats"] = {"get": _of_model("Statistics of a model", STATISTICS, parameters)}
        paths[f"{place}/infer"] = {"post": _infer(parameters)}
    return paths


def _get(summary: str, answer: Json, parameters: Sequence[Json] = ()) -> Json:
    responses = {"200": _json("The answer.", answer), WRONG_METHOD: _json("Another method is meant.", ERROR)}
    return {"tags": [TAG], "summary": summary, "parameters": list(parameters), "responses": responses}


def _ready() -> Json:
    operation = _get("Whether requests should be sent here", READY, [STRICT])
    operation["responses"]["503"] = _json("Not now, with the reasons.", NOT_READY)
    return operation


def _of_model(summary: str, answer: Json, parameters: Sequence[Json]) -> Json:
    operation = _get(summary, answer, parameters)
    operation["responses"] |= {status: _json("The error.", ERROR) for status in ERRORS}
    return operation


def _infer(parameters: Sequence[Json]) -> Json:
    operation = _of_model("Infer with a version", INFER_ANSWER, [*parameters, JSON_LENGTH])
    raw = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
    operation["responses"]["200"]["content"] |= raw
    operation["responses"]["200"]["headers"] = {
        JSON_LENGTH_HEADER: {key: JSON_LENGTH[key] for key in ("description", "schema")},
        **MODEL_VERSION,
    }
    body = {"application/json": {"schema": INFER_REQUEST}} | raw
    return operation | {"requestBody": {"required": True, "content": body}}


def _repository(summary: str, answer: Json | None, parameters: Sequence[Json], request: Json) -> Json:
    operation = _of_model(summary, answer or {}, parameters)
    operation["responses"][FORBIDDEN] = _json("Loading and unloading is not switched on.", ERROR)
    if answer is None:
        operation["responses"]["200"] = {"description": "Done; without a body."}
    return operation | {"requestBody": {"content": {"application/json": {"schema": request}}}}


def _json(description: str, schema: Json) -> Json:
    return {"description": description, "content": {"application/json": {"schema": schema}}}
