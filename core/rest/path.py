"""Parses what a REST request asks for from its method and target alone (TensorFlow Serving, REST routing)."""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from core.errors import InvalidArgument

LARGEST_VERSION = 2**63 - 1

API = re.compile(r"/v1/.*", re.IGNORECASE | re.DOTALL)
INFERENCE = re.compile(
    r"/v1/models/([^/:]+)(?:/versions/([0-9]+)|/labels/([^/:]+))?:(classify|regress|predict)", re.IGNORECASE
)
_NOTHING = re.compile(r"(?!)")
QUERY = re.compile(r"/v1/models(?:/([^/:]+))?(?:/versions/([0-9]+)|/labels/([^/:]+))?(?:/(metadata))?", re.IGNORECASE)


class Verb(enum.Enum):
    """The operations of the REST API."""

    PREDICT = "predict"
    CLASSIFY = "classify"
    REGRESS = "regress"
    METADATA = "metadata"
    STATUS = "status"
    LIST = "list"


INFERENCE_VERBS = {verb.value: verb for verb in (Verb.PREDICT, Verb.CLASSIFY, Verb.REGRESS)}


@dataclass(frozen=True, slots=True)
class RestRequest:
    """A request for one model (`name` is empty for LIST); at most one of `version` and `label` is given."""

    verb: Verb
    name: str
    version: int | None = None
    label: str | None = None


class UnconvertibleVersion(InvalidArgument):
    """A version number beyond int64; TensorFlow Serving answers it with an empty body."""


def is_api(target: str) -> bool:
    """Whether the REST API answers this target: everything below /v1/, and /v1/models itself."""
    return API.fullmatch(target) is not None


def parse_request(method: str, target: str) -> RestRequest:
    """Read a request; `target` is the path as sent, not decoded, with `?query` where there is one.

    Raises InvalidArgument, and UnconvertibleVersion.
    """
    if method == "POST":
        return _inference(method, target)
    if method == "GET":
        return _query(method, target)
    raise _malformed(method, target)


def name_in(method: str, target: str) -> str:
    """Return the model that a request names, even if the rest cannot be parsed; empty when it names none."""
    found = {"POST": INFERENCE, "GET": QUERY}.get(method, _NOTHING).fullmatch(target)
    return decoded(found.group(1) or "") if found is not None else ""


def _malformed(method: str, target: str) -> InvalidArgument:
    return InvalidArgument(f"Malformed request: {method} {target}")


def _inference(method: str, target: str) -> RestRequest:
    found = INFERENCE.fullmatch(target)
    verb = INFERENCE_VERBS.get(found.group(4)) if found is not None else None
    if found is None or verb is None:
        raise _malformed(method, target)
    name, version, label, _ = found.groups()
    return RestRequest(verb, decoded(name), _number(version), None if label is None else decoded(label))


def _query(method: str, target: str) -> RestRequest:
    found = QUERY.fullmatch(target)
    if found is None:
        raise _malformed(method, target)
    name, digits, label, metadata = found.groups()
    version = _number(digits)
    if name is None:
        if target.lower() == "/v1/models":
            return RestRequest(Verb.LIST, "")
        raise InvalidArgument("Missing model name in request.")
    verb = Verb.METADATA if metadata == "metadata" else Verb.STATUS
    return RestRequest(verb, decoded(name), version, None if label is None else decoded(label))


def _number(digits: str | None) -> int | None:
    if digits is None:
        return None
    stripped = digits.lstrip("0") or "0"
    if len(stripped) > len(str(LARGEST_VERSION)) or int(stripped) > LARGEST_VERSION:
        raise UnconvertibleVersion(f"Failed to convert version: {digits} to numeric.")
    return int(stripped)


def decoded(text: str) -> str:
    """Decode percent escapes; `+` stays `+`, and bytes that are not UTF-8 survive as surrogates."""
    if "%" not in text:
        return text
    return unquote_to_bytes(text.encode("utf-8", "surrogateescape")).decode("utf-8", "surrogateescape")
