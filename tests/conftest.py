"""Fixtures that all tests share."""

from __future__ import annotations

import os
from collections.abc import Generator
from pathlib import Path
from typing import Any

os.environ["RAY_AUTH_MODE"] = "disabled"  # read by Ray when it is imported: no token file of a test in the home folder
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_worker_niceness", "0")  # beside the load of tests, processes at Ray's 15 would hardly start
os.environ.setdefault("RAY_gcs_server_port_wait_time_s", "120")  # in place of 30, which a busy machine may need
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # each process that Ray starts would compile Ray anew

import hypothesis
import pytest
from xdist.scheduler import LoadScopeScheduling

from tests.support import tools
from tests.support.client_environments import make_beside
from tests.support.saved_models import ensure_models

INTEGRATION = "tests/integration/"
OWN_SERVERS = ("test_cli.py", "test_ray_start.py", "test_serve_run.py", "test_take_over.py")
"""Modules of integration tests that each start servers of their own."""

CLUSTER = "test_three_hosts.py"
"""The module with a cluster of its own, whose start alone takes all cores for a minute."""

OWN_SITES = ("test_chaos.py", "test_chaos_of_rollouts.py", "test_image.py", CLUSTER)
"""Modules whose tests share a site that they may break, or end."""


class ServerTogether(LoadScopeScheduling):
    """Spreads tests over processes (`pytest -n`): the shared server's tests stay in one, each site of faults in one."""

    def _split_scope(self, nodeid: str) -> str:
        module = nodeid.partition("::")[0].removeprefix(INTEGRATION)
        if not nodeid.startswith(INTEGRATION) or module in OWN_SERVERS:
            return nodeid
        return module if module in OWN_SITES else "the shared server"


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ServerTogether:
    """Keep the order of collection, in which groups stand where their first test does."""
    config.option.loadscopereorder = False
    return ServerTogether(config, log)


@pytest.hookimpl(wrapper=True)
def pytest_report_to_serializable() -> Generator[None, Any, Any]:
    """Escape what is not UTF-8 in reports, such as logged texts of hostile requests: processes send them so."""
    return _escaped((yield))


def _escaped(data: Any) -> Any:
    if isinstance(data, str):
        return data.encode(errors="backslashreplace").decode()
    if isinstance(data, dict):
        return {_escaped(key): _escaped(value) for key, value in data.items()}
    return type(data)(map(_escaped, data)) if isinstance(data, list | tuple) else data


@pytest.hookimpl(wrapper=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> Generator[None]:
    """Put what takes longest first, whatever else orders tests, and last what leaves no time for others beside it."""
    yield
    items.sort(key=_turn)


def _turn(item: pytest.Item) -> int:
    """Return when a test's turn is: those of the shared server mostly wait, so that others have time beside them."""
    folder, _, rest = item.nodeid.partition(INTEGRATION)
    if folder or not rest:
        return 2
    module = rest.partition("::")[0]
    if module == CLUSTER:
        return 3
    return 1 if module in OWN_SERVERS or module in OWN_SITES else 0


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
    make_beside(default_cache().parent, marks)


@pytest.fixture(scope="session")
def saved_models() -> Path:
    """Folder with one base path per test model."""
    return saved_models_folder()
