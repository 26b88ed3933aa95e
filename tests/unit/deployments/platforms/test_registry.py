"""Which platform loads a version, and what else its process loads: nothing of the others."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from core.config.extensions import ANY, BUILT_IN_KINDS, ONNX, TENSORFLOW
from core.config.model_config import ModelConfig
from core.errors import FailedPrecondition, NotFound
from core.versions.load_report import LoadFailed
from core.versions.servable import ServableId
from core.versions.servable_spec import ServableSpec
from deployments.inference.assembly import loaded_model
from deployments.platforms.registry import MODULES, platform_named, platform_of
from tests.support.onnx_models import identity, write
from tests.support.project import ROOT
from tests.support.zoo_models import MODELS

PROGRAM = """
import json, sys
import deployments.model_server
from core.versions.servable import ServableId
from core.versions.servable_spec import ServableSpec
from deployments.inference.assembly import loaded_model
loaded = loaded_model(ServableSpec(ServableId("m", 1), sys.argv[1]))
maps = open("/proc/self/maps").read()
print(json.dumps({"kind": type(loaded).__name__, "modules": sorted(sys.modules), "libraries": maps}))
"""
LIBRARIES = {
    "tensorflow": re.compile(r"^(?:tensorflow|keras|tensorflow_text|ydf_tf|tensorflow_decision_forests)$"),
    "tflite": re.compile(r"^(?:ai_edge_litert|tflite_runtime|flatbuffers)$"),
    "onnx": re.compile(r"^(?:onnxruntime|onnx)$"),
    "python": re.compile(r"^(?:sklearn|xgboost|pip)$"),
}
"""Packages that a platform may load; those of TensorFlow are Python's, which no process of ours imports."""


@pytest.fixture(scope="module")
def loads() -> dict[str, dict]:
    """Load a version of each of two platforms in a process of its own; returns what is loaded there."""
    versions = {"tensorflow": MODELS / "keras_sequential" / "1", "onnx": MODELS / "skl_zipmap" / "1"}
    ran = {
        name: subprocess.run(
            [sys.executable, "-c", PROGRAM, path], cwd=ROOT, check=True, capture_output=True, text=True, timeout=110
        )
        for name, path in versions.items()
    }
    return {name: json.loads(one.stdout.splitlines()[-1]) for name, one in ran.items()}


@pytest.mark.parametrize("name", ["tensorflow", "onnx"])
def test_a_version_loads_the_module_of_its_platform_alone(loads, name: str) -> None:
    """Whichever platforms there will be."""
    own = MODULES[name].partition(":")[0]
    others = {one.partition(":")[0] for one in MODULES.values()} - {own}

    assert own in loads[name]["modules"]
    assert others.isdisjoint(loads[name]["modules"])


def test_a_saved_model_loads_no_part_of_another_platform(loads) -> None:
    """Not only their first modules: a new one in this room is for one platform until it is named here."""
    loaded = {one for one in loads["tensorflow"]["modules"] if one.startswith("deployments.platforms.")}

    assert loaded <= {f"deployments.platforms.{one}" for one in ("registry", "tensorflow", "hooked", "hook_class")}


@pytest.mark.parametrize("name", ["tensorflow", "onnx"])
def test_a_version_loads_no_package_of_another_platform(loads, name: str) -> None:
    """Memory and time of the others are not paid for."""
    roots = {one.partition(".")[0] for one in loads[name]["modules"]}
    foreign = [pattern for platform, pattern in LIBRARIES.items() if platform != name or name == "tensorflow"]

    assert [one for one in sorted(roots) if any(pattern.match(one) for pattern in foreign)] == []


def test_the_library_of_tensorflow_is_opened_for_saved_models_alone(loads) -> None:
    """It takes some hundred megabytes of a process."""
    assert "libtensorflow_cc" in loads["tensorflow"]["libraries"]
    assert "libtensorflow" not in loads["onnx"]["libraries"]
    assert "onnxruntime" in loads["onnx"]["libraries"]
    assert "onnxruntime" not in loads["tensorflow"]["libraries"]


def test_the_table_names_every_built_in_kind() -> None:
    """By the name that configurations use."""
    assert MODULES.keys() == BUILT_IN_KINDS.keys()
    assert set(LIBRARIES) == set(MODULES)


def spec_of(folder: Path, platform: str = "any", **settings: object) -> ServableSpec:
    """Make what a replica is given; with the platform of a name."""
    kind = ANY if platform == "any" else BUILT_IN_KINDS[platform]
    config = ModelConfig("m", str(folder), platform=kind)
    made = ServableSpec(ServableId("m", 1), str(folder), config=config)
    platforms = replace(made.settings.platforms, **settings)
    return replace(made, settings=replace(made.settings, platforms=platforms))


def folder_with(folder: Path, *files: str) -> Path:
    """Write files that only have names."""
    for name in files:
        (folder / name).write_bytes(b"x")
    return folder


@pytest.mark.parametrize(
    ("declared", "files", "kind"),
    [
        ("any", ["model.onnx"], ONNX),
        ("onnx", ["model.onnx", "saved_model.pb"], ONNX),
        ("any", ["model.onnx", "saved_model.pb"], TENSORFLOW),
        ("tensorflow", ["model.onnx", "saved_model.pb"], TENSORFLOW),
        ("any", [], TENSORFLOW),
    ],
)
def test_the_files_of_the_folder_decide(tmp_path: Path, declared: str, files: list[str], kind) -> None:
    """Unless a platform is declared."""
    assert platform_of(spec_of(folder_with(tmp_path, *files), declared)).kind is kind


@pytest.mark.parametrize(
    ("declared", "files", "text"),
    [
        ("any", ["model.onnx", "model.py"], "models of several platforms: model.onnx .* and model.py"),
        ("any", ["model.onnx", "model.tflite"], "models of several platforms: model.tflite .* and model.onnx"),
        ("onnx", ["saved_model.pb"], "lacks model.onnx, which model_platform onnx needs; it holds saved_model.pb"),
        ("tensorflow", ["model.onnx"], "lacks saved_model.pb, .* it holds model.onnx .platform onnx.: set model_platform"),
        ("onnx", [], "lacks model.onnx"),
    ],
)  # fmt: skip
def test_a_folder_that_does_not_fit_is_a_failed_load(tmp_path: Path, declared: str, files, text: str) -> None:
    """Before anything of it is opened."""
    spec = spec_of(folder_with(tmp_path, *files), declared)

    with pytest.raises(FailedPrecondition, match=text):
        platform_of(spec)
    with pytest.raises(LoadFailed, match=text):
        loaded_model(spec)


def test_a_saved_model_beside_an_onnx_model_is_served_as_before(tmp_path: Path) -> None:
    """A version that was loaded yesterday does not become another one by an update of the server."""
    version = tmp_path / "1"
    version.symlink_to(MODELS / "keras_sequential" / "1")
    both = tmp_path / "2"
    both.mkdir()
    for file in version.iterdir():
        (both / file.name).symlink_to(file.resolve())
    write(both, identity())

    served = [loaded_model(spec_of(one)).served.signatures.keys() for one in (version, both)]

    assert served[0] == served[1]


def test_a_folder_that_is_not_there_is_left_to_tensorflow(tmp_path: Path) -> None:
    """Whose text users know."""
    spec = spec_of(tmp_path / "missing")

    assert platform_of(spec).kind is TENSORFLOW
    with pytest.raises(NotFound, match="does not appear to contain a SavedModel bundle"):
        platform_of(spec).load(spec)


def test_a_platform_that_is_not_installed_here_is_named() -> None:
    """The configuration was read elsewhere."""
    with pytest.raises(FailedPrecondition, match="Platform matrix is not installed on this node"):
        platform_named("matrix")
