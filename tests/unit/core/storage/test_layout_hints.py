"""What lies where a SavedModel is expected, said in words that name the file and the next step."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.config.extensions import ANY, ONNX, PYTHON, TENSORFLOW, PlatformKind
from core.storage.layout_hints import (
    MOST_OUTSIDE,
    base_path_hint,
    file_hint,
    is_version,
    shown_outside,
    subpath_hint,
    version_hint,
)

MATRIX = PlatformKind("matrix", ("weights.npy",))
EXPORT = "write a SavedModel with model.export(folder)"
KERAS = f"a Keras archive and not a SavedModel: load it with Keras and {EXPORT}"
ANY_MODEL = "SavedModel, model.tflite, model.onnx or model.py"
XGBOOST = (
    "an XGBoost model, which no platform serves: convert it to ONNX, or load it in a model.py, and serve that with "
    "platform python"
)
ARCHIVE = "an archive, which is not opened: unpack it here"


@pytest.mark.parametrize(
    ("files", "hint"),
    [
        pytest.param(["model.keras"], f"holds model.keras, {KERAS}", id="keras"),
        pytest.param(["notes.txt", "a/b/Model.KERAS"], f"holds a/b/Model.KERAS, {KERAS}", id="keras deeper"),
        pytest.param(
            ["m.h5"], f"holds m.h5, a Keras file and not a SavedModel: load it with Keras and {EXPORT}", id="h5"
        ),
        pytest.param(
            ["config.json", "metadata.json", "model.weights.h5"],
            f"holds model.weights.h5, weights without a model: load them into their Keras model and {EXPORT}",
            id="an unpacked keras archive",
        ),
        pytest.param(["m.zip"], f"holds m.zip, {ARCHIVE}", id="zip"),
        pytest.param(["m.tar.gz"], f"holds m.tar.gz, {ARCHIVE}", id="tar.gz"),
        pytest.param(
            ["checkpoint", "ckpt-1.index", "ckpt-1.data-00000-of-00001"],
            "holds checkpoint, a training checkpoint and not a SavedModel: restore it into its model and export that",
            id="checkpoint",
        ),
        pytest.param(
            ["m.data-00000-of-00001", "m.index"],
            "holds m.data-00000-of-00001, a training checkpoint and not a SavedModel: "
            "restore it into its model and export that",
            id="checkpoint without its list",
        ),
        pytest.param(
            ["_CHECKPOINT_METADATA", "default/manifest.ocdbt"],
            "holds an Orbax checkpoint and not a SavedModel: export the model with orbax-export",
            id="orbax",
        ),
        pytest.param(
            ["variables/variables.index", "variables/variables.data-00000-of-00001"],
            "holds variables without saved_model.pb: copy the whole SavedModel again",
            id="variables alone",
        ),
        pytest.param(
            ["assets/vocabulary.txt"],
            "holds assets without saved_model.pb: copy the whole SavedModel again",
            id="assets",
        ),
        pytest.param(
            ["fingerprint.pb"],
            "holds fingerprint.pb without saved_model.pb: copy the whole SavedModel again",
            id="rest",
        ),
        pytest.param(
            ["saved_model.pb.part"],
            "holds saved_model.pb.part: finish the copy, or rename the file to saved_model.pb",
            id="half a copy",
        ),
        pytest.param(
            ["Saved_Model.pb"],
            "holds Saved_Model.pb: finish the copy, or rename the file to saved_model.pb",
            id="another case",
        ),
        pytest.param(
            ["frozen_graph.pb"],
            "holds frozen_graph.pb, which is not named saved_model.pb: export a SavedModel, not a graph",
            id="a graph",
        ),
        pytest.param(
            ["1/saved_model.pb", "1/variables/variables.index"],
            "holds one level too many: the SavedModel lies in 1/; move the files of that folder up into this one",
            id="one folder too deep",
        ),
        pytest.param(
            ["MLmodel", "data/model/saved_model.pb", "data/save_exported_model.txt"],
            "is an MLflow model, whose SavedModel lies in data/model/; set version_subpath to data/model, or move the files of that folder up into this one",
            id="MLflow with an exported model",
        ),
        pytest.param(
            ["MLmodel", "conda.yaml", "tf2model/saved_model.pb"],
            "is an MLflow model, whose SavedModel lies in tf2model/; set version_subpath to tf2model, or move the files of that folder up into this one",
            id="MLflow of a module",
        ),
        pytest.param(
            ["MLmodel", "data/model.keras"],
            f"holds data/model.keras, as MLflow writes it, {KERAS}",
            id="MLflow of Keras",
        ),
        pytest.param(["readme.md"], f"holds readme.md, and no {ANY_MODEL}", id="one other file"),
        pytest.param(["a", "b", "c"], f"holds a and 2 more, and no {ANY_MODEL}", id="other files"),
        pytest.param([], "holds no files: write the version again", id="nothing"),
        pytest.param(["net.onnx"], "holds net.onnx, an ONNX model: rename it to model.onnx", id="ONNX"),
        pytest.param(["Net.ONNX", "z"], "holds Net.ONNX, an ONNX model: rename it to model.onnx", id="in capitals"),
        pytest.param(
            ["onnx/net.onnx"], "holds onnx/net.onnx, an ONNX model: move it into this folder as model.onnx", id="deeper"
        ),
        pytest.param(["net.tflite"], "holds net.tflite, a TensorFlow Lite model: rename it to model.tflite", id="lite"),
        pytest.param(
            ["1/model.onnx"],
            "holds one level too many: the model.onnx lies in 1/; move the files of that folder up into this one",
            id="an ONNX model one folder too deep",
        ),
        pytest.param(
            ["a/model.onnx", "b/c/saved_model.pb"],
            "holds one level too many: the SavedModel lies in b/c/; move the files of that folder up into this one",
            id="a SavedModel goes before all else",
        ),
        pytest.param(
            ["model.onnx.part"], "holds model.onnx.part: finish the copy, or rename the file to model.onnx", id="a part"
        ),
        pytest.param(
            ["model.onnx.data"], "holds model.onnx.data without model.onnx: copy the whole model again", id="data alone"
        ),
        pytest.param(["model.json"], f"holds model.json, {XGBOOST}", id="XGBoost as JSON"),
        pytest.param(["config.json"], f"holds config.json, and no {ANY_MODEL}", id="another JSON file"),
    ],
)
def test_a_version_folder_without_a_model_says_what_it_holds(files: list[str], hint: str) -> None:
    """The file that says most is named, with the next step."""
    assert version_hint(files) == hint


@pytest.mark.parametrize(
    ("end", "kind"),
    [
        ("ubj", "XGBoost"), ("bst", "XGBoost"), ("cbm", "CatBoost"), ("pt", "PyTorch"), ("pth", "PyTorch"), ("mlmodel", "Core ML"),
        ("safetensors", "weights"), ("pkl", "pickle"), ("joblib", "pickle"), ("hdf5", "Keras"), ("7z", "archive"),
    ],
)  # fmt: skip
def test_other_formats_are_named(end: str, kind: str) -> None:
    """As far as the end of a file's name says what it is."""
    assert f"model.{end}, " in version_hint([f"model.{end}"])
    assert kind in version_hint([f"model.{end}"])
    assert kind in base_path_hint("/m", [f"model.{end}"])
    assert kind in file_hint(f"/m/model.{end}")


@pytest.mark.parametrize(
    ("base_path", "files", "hint"),
    [
        ("/m/3", ["saved_model.pb", "variables/variables.index"], "It is itself a version: use its parent /m as the base path"),
        ("/m/3/", ["saved_model.pbtxt"], "It is itself a version: use its parent /m as the base path"),
        ("s3://b/m/3", ["saved_model.pb"], "It is itself a version: use its parent s3://b/m as the base path"),
        ("/m", ["saved_model.pb"], "It holds a SavedModel directly: move its files into /m/1"),
        ("/m", ["x/1/saved_model.pb", "x/2/saved_model.pb"], "Its versions lie deeper: use /m/x as the base path"),
        ("/m", ["a/b/7/saved_model.pb"], "Its versions lie deeper: use /m/a/b as the base path"),
        ("/m", ["v1/saved_model.pb"], "It holds a SavedModel in v1/: move the files of that folder into /m/1"),
        ("/m", ["model.keras"], f"It holds model.keras, {KERAS}; a version's files belong in /m/1"),
        ("/m", ["readme.md"], ""),
        ("/m/3", ["model.onnx", "model.onnx.data"], "It is itself a version: use its parent /m as the base path"),
        ("/m", ["model.onnx"], "It holds model.onnx directly: move its files into /m/1"),
        ("/m", ["x/1/model.tflite"], "Its versions lie deeper: use /m/x as the base path"),
        ("/m", ["v1/model.onnx"], "It holds model.onnx in v1/: move the files of that folder into /m/1"),
        (
            "/m",
            ["net.onnx"],
            "It holds net.onnx, an ONNX model: rename it to model.onnx; a version's files belong in /m/1",
        ),
        ("/m", [], ""),
    ],
)  # fmt: skip
def test_a_base_path_without_versions_says_why(base_path: str, files: list[str], hint: str) -> None:
    """A level too many or too few is named with the path that would be right."""
    assert base_path_hint(base_path, files) == hint


@pytest.mark.parametrize(
    ("path", "hint"),
    [
        ("/m/model.keras", f"It names a file, {KERAS}"),
        ("s3://b/m.zip", f"It names a file, {ARCHIVE}"),
        ("/m/1/model.onnx", "It names a file: use the folder above the version's folder as the base path"),
        ("/m/net.onnx", "It names a file, an ONNX model: rename it to model.onnx"),
        ("/m/1/saved_model.pb", "It names a file: use the folder above the version's folder as the base path"),
        ("/m", ""),
    ],
)
def test_a_base_path_that_names_a_file_is_recognized(path: str, hint: str) -> None:
    """By its name alone: a store says only that nothing is there."""
    assert file_hint(path) == hint


@pytest.mark.parametrize(
    ("platform", "files", "hint"),
    [
        (TENSORFLOW, ["model.onnx"], 'holds model.onnx, which is for platform onnx and not tensorflow: set model_platform to "onnx"'),
        (ONNX, ["saved_model.pb"], 'holds saved_model.pb, which is for platform tensorflow and not onnx: set model_platform to "tensorflow"'),
        (PYTHON, ["model.tflite", "a.py"], 'holds model.tflite, which is for platform tflite and not python: set model_platform to "tflite"'),
        (TENSORFLOW, ["net.onnx"], 'holds net.onnx, an ONNX model, which platform tensorflow does not serve: set model_platform to "onnx" and name it model.onnx'),
        (TENSORFLOW, ["net.tflite"], "holds net.tflite, a TensorFlow Lite model: rename it to model.tflite"),
        (ONNX, ["variables/variables.index"], "holds variables/variables.index, and no model.onnx"),
        (TENSORFLOW, ["model.onnx.data"], "holds model.onnx.data, and no SavedModel or model.tflite"),
        (MATRIX, ["a", "b"], "holds a and 1 more, and no weights.npy"),
        (MATRIX, ["1/weights.npy"], "holds one level too many: the weights.npy lies in 1/; move the files of that folder up into this one"),
        (MATRIX, ["Weights.npy.tmp"], "holds Weights.npy.tmp: finish the copy, or rename the file to weights.npy"),
    ],
)  # fmt: skip
def test_a_declared_platform_that_does_not_fit_is_named(platform: PlatformKind, files: list[str], hint: str) -> None:
    """With the one that fits; a platform that a package registers is known by its files."""
    assert version_hint(files, platform) == hint


def test_only_files_of_the_declared_platform_make_a_base_path_a_version() -> None:
    """A training script beside versions of SavedModels is not a version."""
    assert not is_version(["model.py"], TENSORFLOW)
    assert base_path_hint("/m", ["model.py"], TENSORFLOW) == ""
    assert is_version(["weights.npy"], MATRIX)


@given(st.lists(st.text(min_size=1)))
def test_every_listing_has_a_hint_that_begins_with_a_verb(paths: list[str]) -> None:
    """Whatever the files are called."""
    assert version_hint(paths).startswith(("holds ", "is "))
    assert is_version(paths) is bool(set(ANY.files) & set(paths))
    base_path_hint("/m", paths)
    assert subpath_hint("a/b", paths).startswith("version_subpath a/b leads to no files; ")


@pytest.mark.parametrize(
    ("files", "hint"),
    [
        pytest.param([], "the version's folder holds no files: write the version again", id="empty"),
        pytest.param(["MLmodel", "data/model.keras"], f"the version's folder holds data/model.keras, as MLflow writes it, {KERAS}", id="no SavedModel"),
        pytest.param(["x/y/saved_model.pb"], "a SavedModel lies in x/y/: set version_subpath to x/y", id="elsewhere"),
        pytest.param(["saved_model.pb"], "the SavedModel lies in the version's own folder: leave version_subpath out", id="a plain version"),
        pytest.param(["model.onnx"], "model.onnx lies in the version's own folder: leave version_subpath out", id="ONNX"),
    ],
)  # fmt: skip
def test_a_version_without_files_at_its_subpath_says_what_it_has(files: list[str], hint: str) -> None:
    """And which subpath would lead to a model."""
    assert subpath_hint("data/model", files) == f"version_subpath data/model leads to no files; {hint}"


def test_only_near_files_outside_of_versions_are_kept() -> None:
    """A base path that is a whole bucket by mistake costs no memory."""
    many = [f"a/{number}" for number in range(2 * MOST_OUTSIDE)]

    assert len(shown_outside(many)) == MOST_OUTSIDE
    assert shown_outside(["/".join("abcdef"), "a/b"]) == {"a/b"}
