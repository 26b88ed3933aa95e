"""Finds the requested model in a request without decoding its tensors.

The router does this for every request. The protobuf runtime alone would copy a whole image to find a name, so the plain
case (a few top-level fields with a length in front) is walked by hand. The walk never judges: anything it does not
expect goes to the protobuf runtime, which decides what is valid and what it means.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from google.protobuf.message import DecodeError

from core.errors import InvalidArgument
from core.inference.protobuf_wire import LENGTH_DELIMITED, NO_MESSAGE, parse_message, top_level_fields
from core.protos import serving_pb2

MANY_FIELDS: Final = 64
"""A request with more top-level fields is read faster by the protobuf runtime."""
_WALK_FROM_BYTES: Final = 4096
_MODEL_SPEC_TAG: Final = 1 << 3 | LENGTH_DELIMITED


class ModelSpecRef(NamedTuple):
    """What a request says about the model: a name, at most one of version and label, and a signature or ""."""

    name: str
    version: int | None = None
    label: str | None = None
    signature: str = ""


def peek(raw: bytes) -> ModelSpecRef:
    """Read the model spec, field 1, of any serialized request but MultiInference."""
    found = _first_fields(raw)
    if found is None:
        envelope = parse_message(serving_pb2.RequestEnvelope, raw)
        return _required(envelope.model_spec if envelope.HasField("model_spec") else None)
    return _required(_merge(found))


def peek_task(raw: bytes) -> ModelSpecRef:
    """Read the model spec of the first task of a serialized MultiInferenceRequest, which decides for all."""
    found = _first_fields(raw)
    if found is None:
        tasks = list(parse_message(serving_pb2.SerializedMultiInferenceRequest, raw).tasks[:1])
    else:
        tasks = [parse_message(serving_pb2.InferenceTask, task) for task in found[:1]]
    ref = reference(tasks[0].model_spec) if tasks else ModelSpecRef("")
    require_name(ref.name)
    return ref


def reference(spec: serving_pb2.ModelSpec) -> ModelSpecRef:
    """Turn the message into a value."""
    choice = spec.WhichOneof("version_choice")
    return ModelSpecRef(
        spec.name,
        spec.version.value if choice == "version" else None,
        spec.version_label if choice == "version_label" else None,
        spec.signature_name,
    )


def require_name(name: str) -> None:
    """Refuse a request that does not say which model it means."""
    if not name:
        raise InvalidArgument("ModelSpec has no name specified.")


def answer_spec(name: str, version: int, signature: str = "") -> bytes:
    """Serialize the model spec of a response: never a label, always the version that answered."""
    spec = serving_pb2.ModelSpec(name=name, signature_name=signature)
    spec.version.value = version
    return spec.SerializeToString()


def _required(spec: serving_pb2.ModelSpec | None) -> ModelSpecRef:
    if spec is None:
        raise InvalidArgument("Missing ModelSpec")
    return reference(spec)


def _merge(found: list[bytes]) -> serving_pb2.ModelSpec | None:
    """Merge all occurrences of the message field, as protobuf demands."""
    if not found:
        return None
    spec = serving_pb2.ModelSpec()
    try:
        for payload in found:
            spec.MergeFromString(payload)
    except DecodeError:
        raise InvalidArgument(NO_MESSAGE) from None
    return spec


def _first_fields(raw: bytes) -> list[bytes] | None:
    """Collect the payloads of field 1, or None if the request is not of the plain kind."""
    fields = top_level_fields(raw, MANY_FIELDS) if len(raw) >= _WALK_FROM_BYTES else None
    if fields is None:
        return None
    return [raw[start:end] for key, start, end in fields if key == _MODEL_SPEC_TAG]
