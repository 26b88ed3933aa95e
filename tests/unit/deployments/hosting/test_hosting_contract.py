"""What the watcher relies on: the same rules of the host in memory, by which it is tested, and of the real one."""

from __future__ import annotations

import inspect
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from core.versions.load_report import LoadFailed, failure_in
from core.versions.servable_spec import ServableSpec
from core.versions.world import ABSENT, AppObservation, Condition
from tests.support.real_hosts import RealHost, half_plus_two_spec
from tests.support.version_hosts import FakeVersionHost


class Asked:
    """A host of either kind, asked as the watcher asks."""

    def __init__(self, host: Any) -> None:
        self._host = host

    async def ask(self, method: str, *arguments: Any) -> Any:
        answer = getattr(self._host, method)(*arguments)
        return await answer if inspect.isawaitable(answer) else answer

    async def observed(self, app: str) -> AppObservation:
        seen: AppObservation = (await self.ask("versions")).get(app, ABSENT)
        return seen

    async def reaches(self, app: str, condition: Condition) -> AppObservation:
        """Wait, or let the host in memory go on."""
        if isinstance(self._host, FakeVersionHost):
            if condition is Condition.FAILED:
                self._host.fail(app, LoadFailed(failure_in("").code, "no SavedModel"))
            else:
                self._host.progress()
            seen = await self.observed(app)
            assert seen.condition is condition
            return seen
        reached: AppObservation = await self._host.reaches(app, condition)
        return reached


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(params=["in_memory", "real"])
def asked(request: pytest.FixtureRequest, host: RealHost) -> Asked:
    """Each kind of host."""
    return Asked(FakeVersionHost() if request.param == "in_memory" else host)


@pytest.fixture
def spec(saved_models: Path) -> ServableSpec:
    """A version that loads."""
    return half_plus_two_spec(saved_models)


async def test_a_version_is_deployed_and_then_runs(asked: Asked, spec: ServableSpec) -> None:
    """`load` does not wait."""
    await asked.ask("load", spec)

    assert (await asked.observed("m:1")).condition is Condition.DEPLOYING
    assert (await asked.reaches("m:1", Condition.RUNNING)).replicas == 1


async def test_loading_again_what_runs_changes_nothing(asked: Asked, spec: ServableSpec) -> None:
    """The watcher repeats what it did not see answered."""
    await asked.ask("load", spec)
    before = await asked.reaches("m:1", Condition.RUNNING)

    await asked.ask("load", spec)

    assert await asked.observed("m:1") == before


async def test_an_unloaded_version_is_deleted_and_then_gone(asked: Asked, spec: ServableSpec) -> None:
    """Its calls may take a moment."""
    await asked.ask("load", spec)
    await asked.reaches("m:1", Condition.RUNNING)

    await asked.ask("unload", "m:1")
    await asked.ask("unload", "m:1")

    assert (await asked.observed("m:1")).condition in {Condition.DELETING, Condition.ABSENT}
    await asked.reaches("m:1", Condition.ABSENT)


async def test_a_failed_version_is_shown_until_it_is_unloaded(asked: Asked, spec: ServableSpec, tmp_path: Path) -> None:
    """The watcher reads the reason before it lets go of it."""
    await asked.ask("load", replace(spec, path=str(tmp_path)))

    failed = await asked.reaches("m:1", Condition.FAILED)

    assert "SavedModel" in failure_in(failed.message).message
    await asked.ask("unload", "m:1")
    assert await asked.observed("m:1") == ABSENT


async def test_the_counts_of_a_running_version_are_bytes(asked: Asked, spec: ServableSpec) -> None:
    """They are collected before it is unloaded."""
    await asked.ask("load", spec)
    await asked.reaches("m:1", Condition.RUNNING)

    assert isinstance(await asked.ask("metrics", "m:1"), bytes)


async def test_unloading_what_is_not_there_changes_nothing(asked: Asked) -> None:
    """The watcher repeats what it did not see answered."""
    await asked.ask("unload", "m:1")

    assert await asked.ask("versions") == {}
