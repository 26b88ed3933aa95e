"""The calls of the Python client: one function for each method, shared by the blocking and the asyncio client."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import ArrayLike

from core.grpc import client_messages as messages
from core.grpc.client_messages import FeatureValue, Target
from core.inference.signature import Signature
from core.versions.lifecycle import VersionStatus

T = TypeVar("T")

PREDICTION = "/tensorflow.serving.PredictionService/"
MODELS = "/tensorflow.serving.ModelService/"

ScoredLabel = tuple[str, float]


@dataclass(frozen=True, slots=True)
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
    body = messages.predict_request(Target(model, version, label, signature), inputs, outputs)
    return ClientCall(f"{PREDICTION}Predict", body, messages.predict_answer, timeout_s)


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
    body = messages.examples_request(Target(model, version, label, signature), examples)
    return ClientCall(f"{PREDICTION}Classify", body, messages.classify_answer, timeout_s)


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
    body = messages.examples_request(Target(model, version, label, signature), examples)
    return ClientCall(f"{PREDICTION}Regress", body, messages.regress_answer, timeout_s)


def status(
    model: str, *, version: int | None = None, timeout_s: float | None = None
) -> ClientCall[list[VersionStatus]]:
    """Return the states of a model's versions, newest first."""
    body = messages.status_request(Target(model, version))
    return ClientCall(f"{MODELS}GetModelStatus", body, messages.status_answer, timeout_s)


def metadata(
    model: str, *, version: int | None = None, label: str | None = None, timeout_s: float | None = None
) -> ClientCall[dict[str, Signature]]:
    """Return the signatures of a version."""
    body = messages.metadata_request(Target(model, version, label))
    return ClientCall(f"{PREDICTION}GetModelMetadata", body, messages.metadata_answer, timeout_s)
