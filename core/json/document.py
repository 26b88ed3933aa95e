"""The door for requests: bodies are read by simdjson where it can judge them, by the exact parser elsewhere.

A body of predict is tried in four lanes. The first cuts lists of numbers out before anything parses the text; the
second copies numbers out of simdjson's document without an object per number; the third turns the document into values
and reads those; the fourth parses exactly. simdjson decides only that a text is valid: `core.json.exact_parser` knows
what TensorFlow Serving accepts beyond standard JSON and its error texts.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import NamedTuple, TypeVar, cast

import numpy as np
import simdjson

from core.errors import InvalidArgument
from core.inference.signature import DEFAULT_SIGNATURE, Signature
from core.json.columns import Arrays, Places, cut_inputs, cut_places, named_rows, named_tensors, one_tensor
from core.json.cut_lists import MOST_RANK, cut_lists
from core.json.elements import Element, UnsuitableDocumentError, parsed_element, plain
from core.json.exact_parser import parse_exactly
from core.json.picture import complaint
from core.json.rows import read_inputs, read_instances
from core.json.skeleton import MOST_LEVELS, is_deeper, require_shallow
from core.json.values import JsonObject, Value

T = TypeVar("T")
SignatureOf = Callable[[str], Signature | None]

ROWS = "instances"
COLUMNS = "inputs"
NAME = "signature_name"

LARGEST_KEPT_BODY_BYTES = 8 * 1024 * 1024
"""A parser keeps about twelve times the memory of its largest body; after larger ones it is thrown away."""
KEPT_PARSERS = 16

_parsers: list[simdjson.Parser] = []
"""Parsers at rest. A parser works for one document at a time; taking and giving back are atomic list operations."""

LARGEST_DOCUMENT_BYTES = 2 * 1024**3
KEPT_OUTLINES = 256
LARGEST_KEPT_OUTLINE_BYTES = 512
"""Bodies of one client differ in their numbers alone. What else they say is remembered, unless it is long."""

BYTES_PER_TOKEN: Mapping[bytes, int] = MappingProxyType({b"[": 112, b"{": 240, b":": 64, b",": 40, b"\\": 64})
"""The most that a bracket, a member, an element or an escape costs while a document is read into values."""


class PredictBody(NamedTuple):
    """A body of predict: the signature, its name as sent, and the arrays that were sent for its inputs."""

    name: str
    signature: Signature
    inputs: Mapping[str, np.ndarray]
    by_row: bool


def read_predict_body(body: bytes | bytearray, signature_of: SignatureOf) -> PredictBody:
    """Read a body of predict for the signature that it names; raises ServingError.

    `signature_of` returns None for a name that the model does not have. Missing inputs are not judged here.
    """
    request = _cut_request(body, signature_of)
    if request is not None:
        return request
    body = bytes(body)
    return with_object(body, partial(_fast_request, signature_of, body)) or _exact_request(body, signature_of)


def _cut_request(body: bytes | bytearray, signature_of: SignatureOf) -> PredictBody | None:
    """Read a body whose inputs are lists of numbers that can be cut out; None for all others."""
    cut = cut_lists(body)
    outline = None if cut is None else _outline(cut.rest)
    if cut is None or outline is None:
        return None
    signature = _plain_signature(signature_of, outline.name)
    if signature is None:
        return None
    dtypes = {name: spec.dtype for name, spec in signature.inputs.items()}
    try:
        return PredictBody(outline.name, signature, cut_inputs(cut.lists, outline.places, dtypes), outline.by_row)
    except UnsuitableDocumentError:
        return None


class _Outline(NamedTuple):
    """A body of predict without its numbers: what it says beside them, and where they belong."""

    name: str
    by_row: bool
    places: Places


def _outline(rest: bytes) -> _Outline | None:
    """Read what is left of a body; None for everything unusual."""
    return _kept_outline(rest) if len(rest) <= LARGEST_KEPT_OUTLINE_BYTES else _new_outline(rest)


@functools.lru_cache(maxsize=KEPT_OUTLINES)
def _kept_outline(rest: bytes) -> _Outline | None:
    return _new_outline(rest)


def _new_outline(rest: bytes) -> _Outline | None:
    """Leave to others a text that may be too deep with its lists in it."""
    return None if is_deeper(rest, MOST_LEVELS - MOST_RANK) else with_object(rest, _read_outline)


def _read_outline(document: Element) -> _Outline | None:
    asked = _asked(document)
    if asked is None:
        return None
    name, by_row = asked
    return _Outline(name, by_row, cut_places(document[_key(by_row=by_row)], by_row=by_row))


def check_signature_name(body: bytes | bytearray) -> None:
    """Make the checks of a body of predict that come before its model is looked up; raises ServingError."""
    body = bytes(body)
    require_shallow(body)
    if not with_object(body, _has_good_name):
        document = parse_object(body)
        signature_name(document.first_values(), document)


def parse_object(body: bytes) -> JsonObject:
    """Read a body that must be an object, as values."""
    require_shallow(body)
    require_affordable(body)
    valid = with_object(body, _plain_object)
    document: Value = parse_exactly(body) if valid is None else valid
    if not isinstance(document, JsonObject):
        raise InvalidArgument(complaint(document, "Is not object"))
    return document


def signature_name(members: Mapping[str, Value], document: JsonObject) -> str:
    """Return the requested signature's name; empty when absent."""
    name = members.get(NAME, "")
    if not isinstance(name, str):
        raise InvalidArgument(complaint(document, f"not formatted correctly. '{NAME}' key must be a string value."))
    return name


def with_object(body: bytes, use: Callable[[Element], T | None]) -> T | None:
    """Apply a function to a valid top-level object; None without one, or when the function gives up.

    The function must not keep any part of the document. Its UnsuitableDocumentError means that it gives up.
    """
    try:
        parser = _parsers.pop()
    except IndexError:
        parser = simdjson.Parser()
    try:
        result = _apply(parser, body, use)
    except UnsuitableDocumentError:
        return None
    if len(body) <= LARGEST_KEPT_BODY_BYTES and len(_parsers) < KEPT_PARSERS:
        _parsers.append(parser)
    return result


def _apply(parser: simdjson.Parser, body: bytes, use: Callable[[Element], T | None]) -> T | None:
    document = parsed_element(parser, body)
    return use(document) if type(document) is simdjson.Object else None


def _plain_object(element: Element) -> JsonObject:
    return cast(JsonObject, plain(element))


def require_affordable(body: bytes) -> None:
    """Refuse a body whose values would need far more memory than its text; raises InvalidArgument."""
    needed = sum(body.count(token) * cost for token, cost in BYTES_PER_TOKEN.items())
    if needed > LARGEST_DOCUMENT_BYTES:
        raise InvalidArgument(
            f"The lists, objects and strings of this request need {needed >> 20} MiB of memory, of which a request may "
            f"have {LARGEST_DOCUMENT_BYTES >> 20} MiB. Send fewer examples in one request."
        )


def _has_good_name(document: Element) -> bool:
    return isinstance(_name_in(document, list(document.keys())), str)


def _name_in(document: Element, names: list[str]) -> Element:
    """Look the member up only where it exists, as simdjson takes microseconds to say that something is absent."""
    return document[NAME] if NAME in names else ""


def _asked(document: Element) -> tuple[str, bool] | None:
    """Return the name of the signature as sent, and whether the inputs come by row; None for everything unusual."""
    names = list(document.keys())
    by_row = ROWS in names
    name = _name_in(document, names)
    return None if not isinstance(name, str) or by_row == (COLUMNS in names) else (name, by_row)


def _key(*, by_row: bool) -> str:
    return ROWS if by_row else COLUMNS


def _plain_signature(signature_of: SignatureOf, name: str) -> Signature | None:
    """Return the signature of a name as sent, if the fast lanes know how to read its inputs."""
    signature = signature_of(name or DEFAULT_SIGNATURE)
    return None if signature is None or not signature.inputs or "b64" in signature.inputs else signature


def _fast_request(signature_of: SignatureOf, body: bytes, document: Element) -> PredictBody | None:
    """Read a body in the fast lane; None for everything unusual."""
    asked = _asked(document)
    if asked is None:
        return None
    name, by_row = asked
    signature = _plain_signature(signature_of, name)
    inputs = None if signature is None else _fast_inputs(body, document, _key(by_row=by_row), signature)
    return None if signature is None or inputs is None else PredictBody(name, signature, inputs, by_row)


def _fast_inputs(body: bytes, document: Element, key: str, signature: Signature) -> Arrays | None:
    dtypes = {name: spec.dtype for name, spec in signature.inputs.items()}
    value: Element = document[key]
    if isinstance(value, simdjson.Object):
        return named_tensors(document, key, dtypes, body) if key == COLUMNS else None
    if not isinstance(value, simdjson.Array) or (key == ROWS and not len(value)):
        return None
    if key == ROWS and isinstance(value[0], simdjson.Object):
        return named_rows(document, key, dtypes, body)
    if len(dtypes) != 1:
        return None
    ((name, dtype),) = dtypes.items()
    return {name: one_tensor(document, key, dtype, body)}


def _exact_request(body: bytes, signature_of: SignatureOf) -> PredictBody:
    """Read values in TensorFlow Serving's order of checks."""
    document = parse_object(body)
    members = document.first_values()
    name = signature_name(members, document)
    signature = _find_signature(signature_of, name)
    dtypes = {key: spec.dtype for key, spec in signature.inputs.items()}
    by_row = _is_by_row(members, document)
    if by_row:
        dense = read_instances(_checked_instances(members[ROWS], document), dtypes)
    else:
        dense = read_inputs(members[COLUMNS], dtypes)
    return PredictBody(name, signature, {key: values.array(key) for key, values in dense.items()}, by_row)


def _find_signature(signature_of: SignatureOf, name: str) -> Signature:
    signature = signature_of(name or DEFAULT_SIGNATURE)
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
