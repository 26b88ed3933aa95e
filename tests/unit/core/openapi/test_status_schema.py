"""The schema of the status document: what is required, and which values may be absent."""

from __future__ import annotations

import jsonschema
import pytest

from core.openapi.status_schema import LABEL, LISTENER, POLICY, STATUS, VERSION_STATUS, WATCHER


def test_the_schema_is_a_json_schema() -> None:
    """Tools can read it."""
    jsonschema.Draft202012Validator.check_schema(STATUS)


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        (LISTENER, {"protocol": "grpc", "address": "0.0.0.0:8500", "encrypted": False}),
        (WATCHER, {"answers": False, "ticked_s_ago": None}),
        (POLICY, {"latest": 1}),
        (POLICY, {"all": True}),
        (POLICY, {"specific": ["3", "1"]}),
        (POLICY, None),
        (LABEL, {"name": "stable", "version": "3", "pending": True, "meanwhile": None}),
    ],
)
def test_values_of_the_server_fit(schema, value) -> None:
    """Also where something is not known."""
    jsonschema.validate(value, schema)


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        (LISTENER, {"protocol": "http", "address": "", "encrypted": False}),
        (WATCHER, {"answers": True}),
        (POLICY, {"latest": 1, "all": True}),
        (POLICY, {"specific": [3]}),
        (LABEL, {"name": "stable", "version": "v3", "pending": True, "meanwhile": None}),
    ],
    ids=["protocol", "missing", "two policies", "number", "version"],
)
def test_other_values_do_not_fit(schema, value) -> None:
    """Versions are texts of digits, as numbers of 64 bits do not survive JavaScript."""
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(value, schema)


def test_members_that_are_added_later_do_not_break_a_reader() -> None:
    """The schema names what stays and forbids nothing."""
    jsonschema.validate({"answers": True, "ticked_s_ago": 1.0, "new": 3}, WATCHER)
    assert {"version", "state", "error"} <= set(VERSION_STATUS["required"])
