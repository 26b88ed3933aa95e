"""Which platform serves a version: a table of what is declared and what lies in the folder."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.config.extensions import BUILT_IN_KINDS, ONNX, PYTHON, TENSORFLOW, TFLITE, PlatformKind, any_of
from core.errors import FailedPrecondition
from core.platforms.platform_choice import chosen_platform

MATRIX = PlatformKind("matrix", ("weights.npy",))
FOLDERS = PlatformKind("folders")
KINDS = (*BUILT_IN_KINDS.values(), MATRIX, FOLDERS)
ANY = any_of(KINDS)


def chosen(declared: PlatformKind, *files: str, prefer_tflite: bool = False) -> str:
    """Return the name of the chosen platform."""
    return chosen_platform(declared, files, KINDS, prefer_tflite=prefer_tflite).name


@pytest.mark.parametrize(
    ("declared", "files", "name"),
    [
        # nothing is declared: the files show it
        (ANY, ["saved_model.pb"], "tensorflow"),
        (ANY, ["saved_model.pbtxt", "assets"], "tensorflow"),
        (ANY, ["model.tflite"], "tflite"),
        (ANY, ["model.onnx", "model.onnx.data"], "onnx"),
        (ANY, ["model.py", "requirements.txt"], "python"),
        (ANY, ["weights.npy"], "matrix"),
        # a SavedModel is served as before, whatever lies beside it
        (ANY, ["saved_model.pb", "model.onnx"], "tensorflow"),
        (ANY, ["saved_model.pb", "model.py", "model.tflite"], "tensorflow"),
        (TENSORFLOW, ["saved_model.pb", "model.onnx"], "tensorflow"),
        # TensorFlow Serving's one platform has both of TensorFlow's formats
        (TENSORFLOW, ["model.tflite"], "tflite"),
        (TENSORFLOW, ["model.tflite", "model.onnx"], "tflite"),
        (TENSORFLOW, ["saved_model.pb", "model.tflite"], "tensorflow"),
        # what is declared goes before what else lies there
        (ONNX, ["saved_model.pb", "model.onnx"], "onnx"),
        (TFLITE, ["saved_model.pb", "model.tflite"], "tflite"),
        (PYTHON, ["model.py", "model.onnx"], "python"),
        (MATRIX, ["model.py", "weights.npy"], "matrix"),
        # one that names no files takes any folder
        (FOLDERS, ["saved_model.pb"], "folders"),
        (FOLDERS, [], "folders"),
        # nothing there is TensorFlow's to say
        (ANY, [], "tensorflow"),
        (ANY, ["readme.md"], "tensorflow"),
        (ANY, ["export.meta"], "tensorflow"),
        (TENSORFLOW, ["variables"], "tensorflow"),
    ],
)
def test_the_choice(declared: PlatformKind, files: list[str], name: str) -> None:
    """What is declared counts first, then a SavedModel, then the one other kind."""
    assert chosen(declared, *files) == name


@pytest.mark.parametrize(
    ("declared", "files", "name"),
    [
        (ANY, ["saved_model.pb", "model.tflite"], "tflite"),
        (TENSORFLOW, ["saved_model.pb", "model.tflite"], "tflite"),
        (TENSORFLOW, ["saved_model.pb"], "tensorflow"),
        (ANY, ["saved_model.pb", "model.onnx"], "tensorflow"),
        (ONNX, ["model.onnx", "model.tflite"], "onnx"),
    ],
)
def test_a_tensorflow_lite_model_may_be_preferred_to_a_saved_model(declared, files, name) -> None:
    """As with TensorFlow Serving's flag; no other platform is touched."""
    assert chosen(declared, *files, prefer_tflite=True) == name


@pytest.mark.parametrize(
    ("declared", "files", "text"),
    [
        (
            ANY,
            ["model.onnx", "model.py"],
            (
                "The version's folder holds models of several platforms: model.onnx (platform onnx) and model.py (platform "
                "python); set model_platform to one of them, or keep one of the files"
            ),
        ),
        (
            ANY,
            ["model.tflite", "model.onnx"],
            (
                "The version's folder holds models of several platforms: model.tflite (platform tflite) and model.onnx "
                "(platform onnx); set model_platform to one of them, or keep one of the files"
            ),
        ),
        (
            TENSORFLOW,
            ["model.onnx"],
            (
                "The version's folder lacks saved_model.pb, which model_platform tensorflow needs; it holds model.onnx "
                "(platform onnx): set model_platform to that, or write the version again"
            ),
        ),
        (
            ONNX,
            ["saved_model.pb"],
            (
                "The version's folder lacks model.onnx, which model_platform onnx needs; it holds saved_model.pb (platform "
                "tensorflow): set model_platform to that, or write the version again"
            ),
        ),
        (
            PYTHON,
            ["saved_model.pb", "weights.npy"],
            (
                "The version's folder lacks model.py, which model_platform python needs; it holds weights.npy (platform "
                "matrix) and saved_model.pb (platform tensorflow): set model_platform to that, or write the version again"
            ),
        ),
        (ONNX, ["net.onnx"], "The version's folder lacks model.onnx, which model_platform onnx needs"),
        (MATRIX, [], "The version's folder lacks weights.npy, which model_platform matrix needs"),
    ],
)
def test_a_folder_that_does_not_fit_says_what_to_do(declared, files, text) -> None:
    """What is missing, what is there, and which platforms serve that."""
    with pytest.raises(FailedPrecondition) as refused:
        chosen(declared, *files)

    assert str(refused.value) == text


@given(
    st.sampled_from([ANY, *KINDS]),
    st.sets(st.sampled_from([*ANY.files, "readme.md", "variables"])),
    st.booleans(),
)
def test_whatever_is_chosen_can_be_loaded_from_the_folder(declared, files, prefer_tflite) -> None:
    """Or nothing is there at all; a declared platform is never replaced by one of another framework."""
    try:
        name = chosen(declared, *files, prefer_tflite=prefer_tflite)
    except FailedPrecondition:
        return
    kind = next(one for one in KINDS if one.name == name)

    assert not kind.files or files & set(kind.files) or not files & set(ANY.files)
    assert declared.name in ("any", name) or (declared, kind) == (TENSORFLOW, TFLITE)
