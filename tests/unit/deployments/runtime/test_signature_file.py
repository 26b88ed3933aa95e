"""What is read from a SavedModel without TensorFlow."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from deployments.runtime.signature_file import is_light_version


@pytest.mark.parametrize(("model", "light"), [("half_plus_two", True), ("mlp", True), ("slow", False)])
def test_small_models_without_loops_are_light(saved_models: Path, model, light) -> None:
    """The last one has a loop."""
    assert is_light_version(saved_models / model / "1") is light


def test_weights_count(saved_models: Path, tmp_path: Path) -> None:
    """A small graph may have large variables."""
    shutil.copytree(saved_models / "mlp" / "1", tmp_path / "1")
    (tmp_path / "1" / "variables" / "variables.data-00001-of-00002").write_bytes(bytes(2**20))

    assert not is_light_version(tmp_path / "1")


def test_files_that_are_not_there_say_nothing(tmp_path: Path) -> None:
    """TensorFlow will say what is missing."""
    assert not is_light_version(tmp_path)
