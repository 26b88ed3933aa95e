"""Loads the test models and calls them by signature, as the model server does through plans."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from core.platforms.platform import Loaded
from deployments.runtime import tensors as tensorflow_tensors
from deployments.runtime.saved_model import LoadedModel, load

SERVE = frozenset({"serve"})


def load_fresh(path: Path, tags: frozenset[str] = SERVE) -> LoadedModel:
    """Load a version that the test may close."""
    return load(str(path), tags=tags, name=path.parent.name, version=int(path.name))


@functools.cache
def loaded(models: Path, name: str, version: int = 1) -> LoadedModel:
    """Load a test model once for all tests; do not close it."""
    return load_fresh(models / name / str(version))


def call(
    model: Loaded,
    inputs: Mapping[str, np.ndarray],
    signature: str = "serving_default",
    outputs: Iterable[str] | None = None,
    **options: object,
) -> dict[str, np.ndarray]:
    """Call a signature with its own names and answer with its own names."""
    declared = model.served.signatures[signature]
    keys = list(declared.outputs) if outputs is None else list(outputs)
    feeds = {declared.inputs[key].tensor: value for key, value in inputs.items()}
    answers = model.run(feeds, [declared.outputs[key].tensor for key in keys], **options)
    return dict(zip(keys, answers, strict=True))


def lent_count() -> int:
    """Return the number of buffers that TensorFlow still holds."""
    return len(tensorflow_tensors._lent)
