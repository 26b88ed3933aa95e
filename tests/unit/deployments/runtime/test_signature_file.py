"""What is read from a SavedModel without TensorFlow."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from deployments.runtime import signature_file
from deployments.runtime.signature_file import graph_operations, is_light_version
from tests.support.zoo_models import MODELS


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


def test_the_operations_of_a_graph_are_read_from_its_functions_too() -> None:
    """TF2 writes signatures as functions."""
    found = graph_operations(MODELS / "text_bert" / "1")

    assert {"WordpieceTokenizeWithOffsets", "TFText>RoundRobinTrim", "StatefulPartitionedCall"} <= found


@pytest.mark.parametrize("content", [None, b"", b"not a graph", b"\x12\xff\xff\xff\xff\x0f"])
def test_a_file_that_cannot_say_names_no_operations(tmp_path: Path, content: bytes | None) -> None:
    """TensorFlow will say what is wrong."""
    if content is not None:
        (tmp_path / "saved_model.pb").write_bytes(content)

    assert graph_operations(tmp_path) == frozenset()


def test_a_huge_graph_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """TensorFlow names its operations when a load lacks them."""
    monkeypatch.setattr(signature_file, "LARGEST_READ_GRAPH", 1000)

    assert graph_operations(MODELS / "text_bert" / "1") == frozenset()
