"""Writes versions that are Python code, and specs to load them by."""

from __future__ import annotations

from pathlib import Path

from core.config.model_config import BatchingParameters, ModelConfig
from core.config.server_settings import ModelCacheSettings, PlatformSettings, ServerSettings
from core.versions.servable import ServableId
from core.versions.servable_spec import ServableSpec

ECHO = """
class Model:
    inputs = {"x": ("float32", (None, 2))}
    outputs = {"y": ("float32", (None, 2))}

    def load(self, path):
        self.path = path

    def predict(self, inputs):
        return {"y": inputs["x"]}
"""


def write_model(folder: Path, text: str = ECHO, **beside: str) -> Path:
    """Write `model.py` and files beside it, named without their `.py` or as they are."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.py").write_text(text, encoding="utf-8")
    for name, content in beside.items():
        (folder / f"{name}.py").write_text(content, encoding="utf-8")
    return folder


def with_predict(*lines: str) -> str:
    """Return ECHO with another body of `predict`."""
    head, _, _ = ECHO.rpartition("        return")
    return head + "".join(f"        {line}\n" for line in lines)


def python_spec(
    folder: Path,
    cache: Path | None = None,
    *,
    allowed: bool = True,
    timeout_s: float = 60.0,
    batching: BatchingParameters | None = None,
) -> ServableSpec:
    """Return what a replica is given for a version in a folder."""
    platforms = PlatformSettings(allow_python=allowed, python_setup_timeout_s=timeout_s)
    model_cache = ModelCacheSettings(folder=str(cache or ""))
    settings = ServerSettings(platforms=platforms, model_cache=model_cache)
    config = ModelConfig("echo", str(folder.parent))
    return ServableSpec(ServableId("echo", 1), str(folder), settings, config, batching)
