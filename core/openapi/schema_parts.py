"""Parts of which schemas (JSON Schema) are put together: plain types, lists, objects, and what may be null."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]

TEXT: Json = {"type": "string"}
WHOLE: Json = {"type": "integer", "minimum": 0}
SECONDS: Json = {"type": "number", "minimum": 0, "description": "seconds"}
TRUTH: Json = {"type": "boolean"}
TIME: Json = {"type": "string", "format": "date-time", "description": "UTC"}
VERSION: Json = {"type": "string", "pattern": "^[0-9]+$"}


def nullable(schema: Json) -> Json:
    """Return a schema that also takes null."""
    return {"anyOf": [schema, {"type": "null"}]}


def list_schema(schema: Json) -> Json:
    """Return the schema of a list."""
    return {"type": "array", "items": schema}


def object_with(**properties: Json) -> Json:
    """Return the schema of an object that has all of these members."""
    return {"type": "object", "properties": properties, "required": list(properties)}
