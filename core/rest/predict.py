"""REST predict: a JSON body to a session run, and its tensors to the JSON answer (TensorFlow Serving, predict).

The checks come in TensorFlow Serving's order; which model answers is decided before, so `check_envelope` says what
would have been said before the model was looked up.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import simdjson

from core.errors import InvalidArgument
from core.inference.error_texts import braced
from core.inference.run_plan import RunPlan
from core.inference.signature import DEFAULT_SIGNATURE, ServedModel, Signature, check_predictable
from core.json import columns as json_columns
from core.json.document import Element, parse_object, with_object
from core.json.picture import complaint
from core.json.rows import read_inputs, read_instances
from core.json.values import JsonObject, Value
from core.rest.predict_answer import write_columns, write_rows

ROWS = "instances"
COLUMNS = "inputs"
NAME = "signature_name"


@dataclass(frozen=True, slots=True)
class PredictBody:
    """What a body asks for: a signature, as it was named, and the arrays that were sent for its inputs."""

    name: str
    signature: Signature
    inputs: Mapping[str, np.ndarray]
    by_row: bool


def plan(model: ServedModel, body: bytes, *, check_method: bool = False) -> RunPlan:
    """Turn a body into a session run of the model; all of the body is judged before the method of its signature."""
    request = read(model, body)
    if check_method:
        check_predictable(request.signature)
    return _run_plan(request)


def read(model: ServedModel, body: bytes) -> PredictBody:
    """Read a body, inputs that may be left out aside; raises ServingError."""
    body = bytes(body)
    return with_object(body, partial(_read_quickly, model, body)) or _read_exactly(model, parse_object(body))


def check_envelope(body: bytes) -> None:
    """Raise what a body deserves before any model is looked up."""
    body = bytes(body)
    if not with_object(body, _has_good_name):
        document = parse_object(body)
        signature_name(document.first_values(), document)


def signature_name(members: Mapping[str, Value], document: JsonObject) -> str:
    """Return the requested signature's name; empty when absent."""
    name = members.get(NAME, "")
    if not isinstance(name, str):
        raise InvalidArgument(complaint(document, f"not formatted correctly. '{NAME}' key must be a string value."))
    return name


def _has_good_name(document: Element) -> bool:
    return isinstance(_name_in(document, list(document.keys())), str)


def _name_in(document: Element, names: list[str]) -> Element:
    """Look the member up only where it exists, as simdjson takes microseconds to say that something is absent."""
    return document[NAME] if NAME in names else ""


def _read_quickly(model: ServedModel, body: bytes, document: Element) -> PredictBody | None:
    """Read what the numbers' fast lane can read; everything unusual is left to the exact way."""
    names = list(document.keys())
    by_row = ROWS in names
    name = _name_in(document, names)
    if not isinstance(name, str) or by_row == (COLUMNS in names):
        return None
    signature = model.signatures.get(name or DEFAULT_SIGNATURE)
    if signature is None or not signature.inputs or "b64" in signature.inputs:
        return None
    inputs = _quick_inputs(document, ROWS if by_row else COLUMNS, signature, body)
    return None if inputs is None else PredictBody(name, signature, inputs, by_row)


def _quick_inputs(document: Element, key: str, signature: Signature, body: bytes) -> json_columns.Arrays | None:
    dtypes = {name: spec.dtype for name, spec in signature.inputs.items()}
    value: Element = document[key]
    if isinstance(value, simdjson.Object):
        return json_columns.named_tensors(document, key, dtypes, body) if key == COLUMNS else None
    if not isinstance(value, simdjson.Array) or (key == ROWS and not len(value)):
        return None
    if key == ROWS and isinstance(value[0], simdjson.Object):
        return json_columns.named_rows(document, key, dtypes, body)
    if len(dtypes) != 1:
        return None
    ((name, dtype),) = dtypes.items()
    return {name: json_columns.one_tensor(document, key, dtype, body)}


def _read_exactly(model: ServedModel, document: JsonObject) -> PredictBody:
    members = document.first_values()
    name = signature_name(members, document)
    signature = _find_signature(model, name)
    dtypes = {key: spec.dtype for key, spec in signature.inputs.items()}
    by_row = _is_by_row(members, document)
    if by_row:
        dense = read_instances(_checked_instances(members[ROWS], document), dtypes)
    else:
        dense = read_inputs(members[COLUMNS], dtypes)
    return PredictBody(name, signature, {key: values.array(key) for key, values in dense.items()}, by_row)


def _find_signature(model: ServedModel, name: str) -> Signature:
    signature = model.signatures.get(name or DEFAULT_SIGNATURE)
    if signature is None:
        raise InvalidArgument(f'Serving signature name: "{name or DEFAULT_SIGNATURE}" not found in signature def')
    if not signature.inputs:
        raise InvalidArgument(f"Failed to get input map for signature: {name or 'DEFAULT'}")
    return signature


def _is_by_row(members: Mapping[str, Value], document: JsonObject) -> bool:
    if ROWS in members and COLUMNS in members:
        rule = f"Not formatted correctly expecting only one of '{COLUMNS}' or '{ROWS}' keys to exist "
        raise InvalidArgument(complaint(document, rule))
    if ROWS not in members and COLUMNS not in members:
        raise InvalidArgument(f"Missing '{COLUMNS}' or '{ROWS}' key")
    return ROWS in members


def _checked_instances(instances: Value, document: JsonObject) -> list[Value]:
    if not isinstance(instances, list):
        raise InvalidArgument(complaint(document, f"Expecting '{ROWS}' to be an list/array"))
    if not instances:
        raise InvalidArgument(complaint(document, f"No values in '{ROWS}' array"))
    return instances


def _run_plan(request: PredictBody) -> RunPlan:
    signature = request.signature
    _check_complete(request)
    feeds = {spec.tensor: _feed(request, name) for name, spec in signature.inputs.items()}
    fetches = tuple(dict.fromkeys([spec.tensor for spec in signature.outputs.values()]))
    places = {name: fetches.index(spec.tensor) for name, spec in signature.outputs.items()}
    write = partial(write_rows if request.by_row else write_columns, places)
    return RunPlan(feeds, fetches, write, request.name or DEFAULT_SIGNATURE)


def _feed(request: PredictBody, name: str) -> np.ndarray:
    array = request.inputs.get(name)
    return request.signature.defaults[name] if array is None else array


def _check_complete(request: PredictBody) -> None:
    """Refuse what is left to refuse: binary rows for several inputs fill only one of them."""
    declared, sent = request.signature.inputs, request.inputs
    if len(sent) < len(declared) and not set(declared) <= set(sent) | set(request.signature.defaults):
        raise InvalidArgument(
            f"input size does not match signature: {len(sent)}!={len(declared)} "
            f"len({braced(sent)}) != len({braced(declared)}). "
            f"Sent extra: {braced(())}. "
            f"Missing but required: {braced(set(declared) - set(sent))}."
        )
