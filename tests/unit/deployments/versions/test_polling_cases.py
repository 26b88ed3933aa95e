"""Cases of TensorFlow Serving's file-system source, by their number; what differs here is said."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from core.config.model_config import ModelConfig
from core.config.server_settings import PollingSettings
from core.config.version_policy import All, Latest, Specific, VersionPolicy
from core.storage.version_listing import VersionDirectory
from deployments.storage.version_source import VersionSource
from tests.support.sites import SETTINGS, M, Site

N = ModelConfig("n", "/n")

TWO = ("42", "17", "30x", "non_numerical_child")
SIX = ("1", "02", "3", "5", "8", "13")


@pytest.mark.parametrize(
    ("names", "policy", "wanted"),
    [
        pytest.param(TWO, Latest(), {42: "42"}, id="case_K5"),
        pytest.param(("42", "17", "30"), Specific(frozenset({17, 30})), {17: "17", 30: "30"}, id="case_K8"),
        pytest.param(("42", "00017", "30"), Specific(frozenset({17, 30})), {17: "00017", 30: "30"}, id="case_K9"),
        pytest.param(TWO, Latest(0), {42: "42"}, id="case_K11"),
        pytest.param(SIX, Latest(2), {13: "13", 8: "8"}, id="case_K14-latest"),
        pytest.param(SIX, Specific(frozenset({2, 5})), {2: "02", 5: "5"}, id="case_K14-specific"),
        pytest.param(("20170111173521",), Latest(), {20170111173521: "20170111173521"}, id="case_K16"),
    ],
)
def test_the_directories_that_a_policy_wants(tmp_path: Path, names, policy: VersionPolicy, wanted) -> None:
    """From real directories to versions and the places that they are loaded from."""
    for name in names:
        (tmp_path / name).mkdir()

    found = VersionSource().list_versions(str(tmp_path), policy).versions

    assert {one: found[one].path for one in policy.select(frozenset(found))} == {
        version: str(tmp_path / name) for version, name in wanted.items()
    }


def test_case_K1_a_base_path_that_is_missing_is_an_error_and_changes_nothing(tmp_path: Path) -> None:
    """Nothing is known of its versions, so none is loaded or unloaded."""
    listing = VersionSource().list_versions(str(tmp_path / "missing"), Latest())
    assert listing.error == f"NOT_FOUND: {tmp_path / 'missing'} not found"
    assert listing.versions == {}

    site = Site((1,), running=["m:1"])
    site.settle()
    del site.source.directories["/m"]
    site.settle()

    assert (site.host.running, site.host.deleted) == ({"m:1"}, [])
    assert site.watch.table.models["m"].problem.startswith("Could not find base path /m for servable m")


@pytest.mark.parametrize("is_missing", [True, False], ids=["case_K1", "case_K2"])
def test_case_K3_a_start_without_versions_does_not_fail(is_missing) -> None:
    """Upstream has a library option for that, and no flag; here the doors open, and the model says what it lacks."""
    site = Site(())
    if is_missing:
        del site.source.directories["/m"]

    site.settle()

    assert site.watch.table.settled
    assert site.watch.table.models["m"].problem


def test_case_K20_without_polling_storage_is_asked_once() -> None:
    """A new directory is not seen."""
    site = Site(settings=replace(SETTINGS, polling=PollingSettings(file_system_poll_wait_s=0)))
    site.settle()
    site.source.write("/m", 2)

    site.settle()

    assert site.source.listed["/m"] == 1
    assert site.host.running == {"m:1"}


def test_case_K21_a_base_path_that_is_missing_holds_up_its_own_model_only() -> None:
    """Upstream then updates no model at all."""
    site = Site(configs=(ModelConfig("absent", "/absent"), M, N))
    site.source.write("/n", 1)
    site.settle()
    site.source.write("/n", 2)

    site.settle()

    assert site.host.running == {"m:1", "n:2"}
    assert site.watch.table.models["absent"].problem.startswith("Could not find base path /absent")


def test_a_policy_that_wants_nothing_that_is_there_is_a_problem_until_it_changes() -> None:
    """Also without polling, when storage is not asked again."""
    settings = replace(SETTINGS, polling=PollingSettings(file_system_poll_wait_s=0))
    site = Site((1, 2, 3, 4, 5, 6), configs=(replace(M, policy=Specific(frozenset({9}))),), settings=settings)
    site.settle()
    lacking = "The version policy of servable m lists only 9; base path /m has 6, 5, 4, 3, 2, ..."
    assert site.router.table.models["m"].problem == lacking

    site.model_list.configs = (M,)
    site.settle()

    assert (site.router.table.models["m"].problem, site.host.running) == ("", {"m:6"})


def test_a_version_that_cannot_be_read_waits_alone() -> None:
    """It says why; a version that runs goes on although its files cannot be read any more, and newer ones come."""
    site = Site((1,))
    site.settle()
    for number in (1, 2):
        site.source.directories["/m"][number] = VersionDirectory(f"/m/{number}", unreadable="Permission denied")
    site.settle()

    assert site.host.running == {"m:1"}
    assert site.router.table.models["m"].waiting[2] == "waits until its files can be read: Permission denied"

    site.source.write("/m", 3)
    site.settle()

    assert site.host.running == {"m:3"}


def test_nothing_is_loaded_from_a_base_path_that_was_left() -> None:
    """What runs goes on while the new place cannot be listed; what stood at the old one is no longer there to load."""
    site = Site((1, 2))
    site.settle()

    site.model_list.configs = (replace(M, base_path="/moved", policy=All()),)
    site.settle()

    assert site.host.running == {"m:2"}
    assert site.router.table.models["m"].problem.startswith("Could not find base path /moved")

    site.source.write("/moved", 1)
    site.settle()

    assert (site.host.running, site.host.paths["m:1"]) == ({"m:1"}, "/moved/1")
