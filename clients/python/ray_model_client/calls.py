"""The calls of TensorFlow Serving's protocol: one function for each method, shared by both clients."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import ArrayLike

from ray_model_client.arrays import sent_array
from ray_model_client.dtypes import type_name
from ray_model_client.tensors import array_of, shape_of, tensor
from ray_model_client.values import Code, Signature, State, TensorSpec, VersionStatus
from ray_model_client.wire import (
    Piece,
    Value,
    as_bytes,
    as_float,
    as_signed,
    as_text,
    entry,
    fields,
    joined,
    nested,
    number,
    text,
    varint,
)

T = TypeVar("T")
FeatureValue = bytes | str | int | float | Sequence[bytes] | Sequence[str] | Sequence[int] | Sequence[float]
ScoredLabel = tuple[str, float]

PREDICTION = "/tensorflow.serving.PredictionService/"
MODELS = "/tensorflow.serving.ModelService/"


@dataclass(frozen=True)
class ClientCall(Generic[T]):
    """One call: method, request, reader of the answer, and timeout (None: the timeout of the client)."""

    path: str
    body: bytes
    read: Callable[[bytes], T]
    timeout_s: float | None = None


def predict(
    model: str,
    inputs: Mapping[str, ArrayLike],
    *,
    outputs: Sequence[str] = (),
    version: int | None = None,
    label: str | None = None,
    signature: str = "",
    timeout_s: float | None = None,
) -> ClientCall[dict[str, np.ndarray]]:
    """Run a signature on named arrays; returns the named outputs, or all of them."""
    pieces = _spec(model, version, label, signature)
    for name, value in inputs.items():
        pieces += entry(2, name, tensor(sent_array(value, name), name))
    for name in outputs:
        pieces += text(3, name)
    return ClientCall(f"{PREDICTION}Predict", joined(pieces), _outputs, timeout_s)


def classify(
    model: str,
    examples: Sequence[Mapping[str, FeatureValue]],
    *,
    version: int | None = None,
    label: str | None = None,
    signature: str = "",
    timeout_s: float | None = None,
) -> ClientCall[list[list[ScoredLabel]]]:
    """Return label and score of every class for each example."""
    body = joined([*_spec(model, version, label, signature), *_examples(examples)])
    return ClientCall(f"{PREDICTION}Classify", body, _classes, timeout_s)


def regress(
    model: str,
    examples: Sequence[Mapping[str, FeatureValue]],
    *,
    version: int | None = None,
    label: str | None = None,
    signature: str = "",
    timeout_s: float | None = None,
) -> ClientCall[list[float]]:
    """Return one value for each example."""
    body = joined([*_spec(model, version, label, signature), *_examples(examples)])
    return ClientCall(f"{PREDICTION}Regress", body, _values, timeout_s)


def status(
    model: str, *, version: int | None = None, timeout_s: float | None = None
) -> ClientCall[list[VersionStatus]]:
    """Return the states of a model's versions, newest first."""
    return ClientCall(f"{MODELS}GetModelStatus", joined(_spec(model, version)), _statuses, timeout_s)


def metadata(
    model: str, *, version: int | None = None, label: str | None = None, timeout_s: float | None = None
) -> ClientCall[dict[str, Signature]]:
    """Return the signatures of a version."""
    body = joined([*_spec(model, version, label), *text(2, "signature_def")])
    return ClientCall(f"{PREDICTION}GetModelMetadata", body, _signatures, timeout_s)


def _spec(model: str, version: int | None, label: str | None = None, signature: str = "") -> list[Piece]:
    """Encode which model a request is for; without version and label, the latest version.

    Raises ValueError for a version and a label at once.
    """
    if version is not None and label is not None:
        raise ValueError("Name a version or a label, not both.")
    spec = text(1, model)
    if version is not None:
        spec += nested(2, number(1, version))
    if signature:
        spec += text(3, signature)
    if label is not None:
        spec += text(4, label)
    return nested(1, spec)


def _examples(examples: Sequence[Mapping[str, FeatureValue]]) -> list[Piece]:
    encoded: list[Piece] = []
    for features in examples:
        entries: list[Piece] = []
        for name, value in features.items():
            entries += entry(1, name, _feature(value))
        encoded += nested(1, nested(1, entries))
    return nested(2, nested(1, encoded))


def _feature(value: FeatureValue) -> list[Piece]:
    """Encode a feature: texts, whole numbers and others each have their list."""
    values: list[Any] = [value] if isinstance(value, (bytes, str, int, float)) else list(value)
    if all(isinstance(one, (bytes, str)) for one in values):
        return nested(1, [piece for one in values for piece in text(1, one)])
    if all(isinstance(one, (int, np.integer)) for one in values):
        return nested(3, nested(1, [varint(int(one)) for one in values]))
    return nested(2, nested(1, [np.asarray(values, "<f4").tobytes()]))


def entry_of(raw: Value) -> tuple[str, memoryview]:
    """Return the key and the message of an entry of a map."""
    key, value = "", memoryview(b"")
    for field, one in fields(as_bytes(raw)):
        if field == 1:
            key = as_text(one)
        elif field == 2:
            value = as_bytes(one)
    return key, value


def _outputs(raw: bytes) -> dict[str, np.ndarray]:
    entries = [entry_of(value) for field, value in fields(raw) if field == 1]
    return {name: array_of(value) for name, value in entries}


def _of(message: Value, wanted: int) -> list[Value]:
    """Return the values of one field."""
    return [value for field, value in fields(as_bytes(message)) if field == wanted]


def _classes(raw: bytes) -> list[list[ScoredLabel]]:
    examples = [one for result in _of(memoryview(raw), 1) for one in _of(result, 1)]
    return [[_scored(one) for one in _of(example, 1)] for example in examples]


def _scored(message: Value) -> ScoredLabel:
    label, score = "", 0.0
    for field, value in fields(as_bytes(message)):
        if field == 1:
            label = as_text(value)
        elif field == 2:
            score = as_float(value)
    return label, score


def _values(raw: bytes) -> list[float]:
    found = [one for result in _of(memoryview(raw), 1) for one in _of(result, 1)]
    return [sum(as_float(value) for value in _of(one, 1)) for one in found]


def _statuses(raw: bytes) -> list[VersionStatus]:
    return [_status(one) for one in _of(memoryview(raw), 1)]


def _status(message: Value) -> VersionStatus:
    version, state, code, reason = 0, State.UNKNOWN, Code.OK, ""
    for field, value in fields(as_bytes(message)):
        if field == 1:
            version = as_signed(value)
        elif field == 2:
            state = State(as_signed(value))
        elif field == 3:
            for inner, one in fields(as_bytes(value)):
                if inner == 1:
                    code = Code(as_signed(one))
                elif inner == 2:
                    reason = as_text(one)
    return VersionStatus(version, state, code, reason)


def _signatures(raw: bytes) -> dict[str, Signature]:
    packed = dict(entry_of(value) for field, value in fields(raw) if field == 2).get("signature_def", memoryview(b""))
    definitions = [entry_of(one) for content in _of(packed, 2) for one in _of(content, 1)]
    return {name: _signature(definition) for name, definition in definitions}


def _signature(message: Value) -> Signature:
    inputs: dict[str, TensorSpec] = {}
    outputs: dict[str, TensorSpec] = {}
    method = ""
    for field, value in fields(as_bytes(message)):
        if field in (1, 2):
            name, info = entry_of(value)
            (inputs if field == 1 else outputs)[name] = _tensor_spec(info)
        elif field == 3:
            method = as_text(value)
    return Signature(inputs, outputs, method)


def _tensor_spec(message: Value) -> TensorSpec:
    """Read a TensorInfo; one of a sparse or ragged tensor has no name."""
    tensor_name, dtype, shape = "", 0, None
    for field, value in fields(as_bytes(message)):
        if field == 1:
            tensor_name = as_text(value)
        elif field == 2:
            dtype = as_signed(value)
        elif field == 3:
            shape = shape_of(value)
    return TensorSpec(tensor_name, type_name(dtype), shape)
