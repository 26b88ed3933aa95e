"""The versions that start together with the router are those that the watcher would load first."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from core.config.server_settings import LoadingSettings, ModelSourceSettings, ServerSettings
from core.delivery.rollout_record import Rejection, RolloutRecord
from deployments.delivery.record_files import RecordFiles
from deployments.delivery.state_folder import LocalFolder
from deployments.launch import first_loads as collected
from deployments.launch.first_loads import first_loads


def settings(folder: Path, *, threads: int) -> ServerSettings:
    """Return settings of a server with two models of two versions each."""
    for model in ("a", "b"):
        for version in (1, 2):
            (folder / model / str(version)).mkdir(parents=True)
            (folder / model / str(version) / "saved_model.pb").write_bytes(b"m")
            marker = folder / model / str(version) / "done"
            marker.touch()
    (folder / "settings.yaml").write_text(
        "models:\n" + "".join(f"  {one}: {{base_path: {folder / one}, marker_file: done}}\n" for one in ("a", "b"))
    )
    return ServerSettings(
        source=ModelSourceSettings(model_settings_file=str(folder / "settings.yaml")),
        loading=LoadingSettings(num_load_threads=threads),
    )


@pytest.mark.parametrize(("threads", "expected"), [(1, ["a:2"]), (2, ["a:2", "b:2"])])
def test_the_newest_versions_are_submitted_first(tmp_path: Path, threads: int, expected: list[str]) -> None:
    """First one of each model, and no more at a time than the watcher itself would load."""
    assert [target.name for target in first_loads(settings(tmp_path, threads=threads))] == expected


def test_a_declared_label_need_not_wait_for_the_watcher(tmp_path: Path) -> None:
    """The version that `stable` names is submitted first, and all others for which there is room."""
    made = settings(tmp_path, threads=3)
    text = "".join(
        f"  {one}: {{base_path: {tmp_path / one}, marker_file: done, labels: {{stable: 1, canary: 2}}, "
        "version_policy: all}\n"
        for one in ("a", "b")
    )
    (tmp_path / "settings.yaml").write_text(f"models:\n{text}")

    assert [target.name for target in first_loads(made)] == ["a:1", "b:1", "a:2"]


def test_of_hosted_versions_the_host_is_submitted_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its process starts together with the router; the watcher fills it."""
    monkeypatch.setattr(collected, "alive_nodes", lambda: {"n1": 2.0})
    made = settings(tmp_path, threads=4)
    text = "".join(
        f"  {one}: {{base_path: {tmp_path / one}, marker_file: done, placement: {placement}}}\n"
        for one, placement in (("a", "hosted"), ("b", "own"))
    )
    (tmp_path / "settings.yaml").write_text(f"models:\n{text}")

    assert [target.name for target in first_loads(made)] == ["host@n1", "b:2"]


def test_what_a_rollout_left_is_loaded_again(tmp_path: Path) -> None:
    """The state folder says that version 2 of one model was rejected; nothing is written there."""
    made = settings(tmp_path, threads=2)
    text = "".join(
        f"  {one}: {{base_path: {tmp_path / one}, marker_file: done, canary: {{steps: [{{weight: 5, bake: 1h}}]}}}}\n"
        for one in ("a", "b")
    )
    (tmp_path / "settings.yaml").write_text(f"models:\n{text}")
    states = tmp_path / "states"
    record = RolloutRecord(stable=1, rejected={2: Rejection("it failed")}, generation=3)
    RecordFiles(LocalFolder(states)).write("a", record)
    before = {one.name: one.read_bytes() for one in states.iterdir()}

    found = first_loads(replace(made, source=replace(made.source, state_dir=str(states))))

    assert [target.name for target in found] == ["a:1", "b:2"]
    assert {one.name: one.read_bytes() for one in states.iterdir()} == before


def test_without_its_state_folder_nothing_is_loaded_first(tmp_path: Path) -> None:
    """The watcher waits for it, and decides then."""
    made = settings(tmp_path, threads=2)
    (tmp_path / "states").write_text("no folder")

    assert first_loads(replace(made, source=replace(made.source, state_dir=str(tmp_path / "states")))) == []
