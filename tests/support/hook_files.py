"""Hooks for tests: classes as they stand in a version's folder, and replicas' descriptions that allow them."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from core.config.model_config import ModelConfig
from core.config.server_settings import PlatformSettings, ServerSettings
from core.versions.servable import ServableId
from core.versions.servable_spec import ServableSpec

TEXTS_TO_NUMBERS = """
    import numpy as np

    class Hooks:
        inputs = {"text": ("string", (None,))}
        outputs = {"answer": ("string", (None,))}

        def preprocess(self, inputs, context):
            return {"x": np.array([float(one) for one in inputs["text"]], np.float32)}

        def postprocess(self, outputs, context):
            return {"answer": [b"%.1f" % one for one in outputs["y"]]}
"""
"""Around half_plus_two: a text that is a number in, the number as a text out."""


def write_hooks(version: Path, source: str = TEXTS_TO_NUMBERS) -> Path:
    """Write the hooks of a version, and return their file."""
    file = version / "assets.extra" / "hooks.py"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(textwrap.dedent(source), encoding="utf-8")
    return file


def hook_spec(path: Path, hooks: str = "", *, allowed: bool = True) -> ServableSpec:
    """Make what a replica of version 1 of model `m` is given."""
    settings = ServerSettings(platforms=PlatformSettings(allow_python=allowed))
    return ServableSpec(ServableId("m", 1), str(path), settings, ModelConfig("m", str(path.parent), hooks=hooks))


@contextmanager
def imports_undone() -> Iterator[None]:
    """Forget at the end what hooks imported, and where from: a replica has one version, a test process many."""
    known = set(sys.modules)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", list(sys.path))
        patch.setattr(sys, "dont_write_bytecode", sys.dont_write_bytecode)
        try:
            yield
        finally:
            for name in set(sys.modules) - known:
                if "hooks" in name:
                    del sys.modules[name]
