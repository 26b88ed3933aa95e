"""Fixtures that all tests share."""

from __future__ import annotations

import os
from pathlib import Path

os.environ["RAY_AUTH_MODE"] = "disabled"  # read by Ray when it is imported: no token file of a test in the home folder
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_worker_niceness", "0")  # beside the load of tests, processes at Ray's 15 would hardly start
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # each process that Ray starts would compile Ray anew

import hypothesis
import pytest

from tests.support import stock_client, tools
from tests.support.saved_models import ensure_models

hypothesis.settings.register_profile("project", deadline=None)  # how long an example takes depends on the neighbours
hypothesis.settings.load_profile("project")


def default_cache() -> Path:
    """Place the made models outside of the repository, where later runs find them again."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ray_model_server" / "test_models"


def saved_models_folder() -> Path:
    """Return the folder with one base path per test model; RMS_TEST_MODELS names another cache."""
    return ensure_models(Path(os.environ.get("RMS_TEST_MODELS") or default_cache()))


def pytest_collection_finish(session: pytest.Session) -> None:
    """Begin at once with what some tests will otherwise wait for."""
    marks = {mark.name for item in session.items for mark in item.iter_markers()}
    if "tools" in marks:
        tools.fetch_beside()
    if "stock_client" in marks:
        stock_client.make_beside(default_cache().parent)


@pytest.fixture(scope="session")
def saved_models() -> Path:
    """Folder with one base path per test model."""
    return saved_models_folder()
