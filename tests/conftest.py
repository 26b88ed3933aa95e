"""Fixtures that all tests share."""

from __future__ import annotations

import os
from pathlib import Path

os.environ["RAY_AUTH_MODE"] = "disabled"  # read by Ray when it is imported: no token file of a test in the home folder
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import pytest

from tests.support.saved_models import ensure_models


def default_cache() -> Path:
    """Place the made models outside of the repository, where later runs find them again."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ray_model_server" / "test_models"


def saved_models_folder() -> Path:
    """Return the folder with one base path per test model; RMS_TEST_MODELS names another cache."""
    return ensure_models(Path(os.environ.get("RMS_TEST_MODELS") or default_cache()))


@pytest.fixture(scope="session")
def saved_models() -> Path:
    """Folder with one base path per test model."""
    return saved_models_folder()
