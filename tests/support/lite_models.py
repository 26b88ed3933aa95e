"""TensorFlow Lite models of the tests, which `tflite_models/make.py` made, loaded as a replica loads them."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from core.config.server_settings import PlatformSettings, ServerSettings
from core.inference.dtypes import DataType
from core.platforms.tflite_signatures import LiteGraph, LiteTensor
from core.versions.servable import ServableId
from core.versions.servable_spec import ServableSpec
from deployments.platforms.lite_model import LiteModel
from deployments.platforms.tflite import PLATFORM
from tests.support.loaded_models import call

LITE_MODELS = Path(__file__).resolve().with_name("tflite_models")
SERVING_OWN = "tflite_serving_default"


def lite_file(name: str) -> bytes:
    """Read a model."""
    return (LITE_MODELS / name / "1" / "model.tflite").read_bytes()


def lite_spec(path: Path, **settings: Any) -> ServableSpec:
    """Describe the version in a folder."""
    platforms = PlatformSettings(**{"tflite_pools": 1, **settings})
    return ServableSpec(ServableId(path.parent.name, int(path.name)), str(path), ServerSettings(platforms=platforms))


def load_lite(name: str, **settings: Any) -> LiteModel:
    """Load a test model that the test may close."""
    return PLATFORM.load(lite_spec(LITE_MODELS / name / "1", **settings))


@functools.cache
def lite_model(name: str) -> LiteModel:
    """Load a test model once for all tests; do not close it."""
    return load_lite(name, tflite_pools=2)


ask = call


def tensor(
    name: str, *shape: int, declared: tuple[int, ...] | None = None, dtype: DataType = DataType.FLOAT
) -> LiteTensor:
    """Describe a tensor of a file."""
    return LiteTensor(name, dtype, shape, shape if declared is None else declared)


def graph(inputs: Iterable[LiteTensor], outputs: Iterable[LiteTensor]) -> LiteGraph:
    """Describe a graph whose inputs begin at index 0 and whose outputs begin at index 10."""
    return LiteGraph(tuple(enumerate(inputs)), tuple(enumerate(outputs, 10)))
