"""Which package holds an operation, and what a load says that lacks one."""

from __future__ import annotations

import re
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

from core.config.model_config import ModelConfig
from core.config.server_settings import PlatformSettings, ServerSettings
from core.errors import Code
from core.platforms.op_libraries import (
    KNOWN_PACKAGES,
    OpPackage,
    install_advice,
    known_package,
    missing_operation,
    named_libraries,
    package_with,
    unfit_library,
    unregistered_operation,
    wanted_files,
)
from core.versions.load_report import LoadStep, is_permanent
from core.versions.servable import ServableId
from core.versions.servable_spec import ServableSpec
from tests.support.project import ROOT

TEXT = (
    "Op type not registered 'CaseFoldUTF8' in binary running on vm. Make sure the Op and Kernel are registered in the "
    "binary running in this process."
)


@pytest.mark.parametrize(
    ("operation", "package"),
    [
        ("CaseFoldUTF8", "tensorflow-text"),
        ("TFText>RoundRobinTrim", "tensorflow-text"),
        ("TFText>NewInALaterRelease", "tensorflow-text"),
        ("SimpleMLInferenceOpWithHandle", "ydf-tf"),
        ("SimpleMLNewInALaterRelease", "ydf-tf"),
        ("MatMul", None),
        ("CaseFoldUTF", None),
        ("", None),
    ],
)
def test_an_operation_is_of_the_package_that_holds_it(operation: str, package: str | None) -> None:
    """By its name, or by the beginning that all of a package have."""
    found = package_with(operation)

    assert (found.name if found else None) == package


def test_an_operation_needs_one_library_of_a_package() -> None:
    """Each costs memory and time, and TF Text has 23."""
    files = [file for _, file in wanted_files(["RegexSplitWithOffsets", "MatMul", "CaseFoldUTF8", "NormalizeUTF8"])]

    assert files == ["python/ops/_regex_split_ops.so", "python/ops/_normalize_ops.so"]


def test_an_operation_of_a_later_release_may_be_in_any_library() -> None:
    """So that all are opened."""
    (text, _) = KNOWN_PACKAGES

    assert [file for _, file in wanted_files(["TFText>NewInALaterRelease"])] == list(text.libraries)


@pytest.mark.parametrize("package", KNOWN_PACKAGES, ids=lambda one: one.name)
def test_the_table_is_that_of_the_installed_release(package: OpPackage) -> None:
    """Each file is there and has the names that the table gives; no file with operations is left out."""
    files = {str(one): Path(str(one.locate())) for one in metadata.distribution(package.name).files or ()}
    within = {name.removeprefix(f"{package.module}/"): path for name, path in files.items() if name.endswith(".so")}

    assert set(package.libraries) == {name for name in within if "pybinds/" not in name}
    for name, operations in package.libraries.items():
        content = within[name].read_bytes()
        assert [one for one in operations if one.encode() not in content] == []


@pytest.mark.parametrize("name", ["tensorflow-text", "TensorFlow_Text", "tensorflow.text", "ydf--tf"])
def test_a_package_is_known_by_every_spelling_that_pip_takes(name: str) -> None:
    """Names are normalized as PEP 503 says."""
    assert known_package(name) is not None


def test_other_packages_are_not_known() -> None:
    """Their libraries are found by looking."""
    assert known_package("tensorflow") is None


def test_the_extras_are_those_of_the_project() -> None:
    """What the error text says to install can be installed."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]

    assert {one.name for one in KNOWN_PACKAGES} == {
        re.split("[<>=]", extras[one.extra][0])[0] for one in KNOWN_PACKAGES
    }


@pytest.mark.parametrize(
    ("message", "operation"),
    [(TEXT, "CaseFoldUTF8"), ("Op type not registered", None), ("No Op type", None), ("", None)],
)
def test_the_operation_is_read_from_tensorflows_text(message: str, operation: str | None) -> None:
    """Any other failure names none."""
    assert unregistered_operation(message) == operation


def test_a_load_without_the_package_says_what_to_install() -> None:
    """After TensorFlow's own text, which users search for; the load is not tried again."""
    text = missing_operation(TEXT, "CaseFoldUTF8", is_installed=False)

    assert text == (
        f"{TEXT} Operation CaseFoldUTF8 is in package tensorflow-text, which is not installed here: "
        "pip install 'ray-model-server[text]'"
    )
    assert is_permanent(LoadStep.GRAPH, Code.NOT_FOUND, text)


def test_a_load_with_a_release_that_lacks_the_operation_says_so() -> None:
    """Another one has it, perhaps."""
    text = missing_operation("x", "SimpleMLNew", is_installed=True)

    assert "Package ydf-tf is installed, but its libraries do not have operation SimpleMLNew" in text
    assert install_advice(KNOWN_PACKAGES[1]) in text


def test_a_load_with_an_unknown_operation_points_to_the_setting() -> None:
    """Users know where their own operations are."""
    text = missing_operation("Op type not registered 'Mine' in binary", "Mine", is_installed=False)

    assert text.startswith("Op type not registered 'Mine' in binary. No package")
    assert "op_libraries" in text


def test_a_library_that_does_not_fit_is_named_once() -> None:
    """The loader's text begins with the path, too; the load is not tried again."""
    text = unfit_library("/l/x.so", "/l/x.so: undefined symbol: f")

    assert text.startswith("/l/x.so cannot be used as a library of TensorFlow operations: undefined symbol: f. ")
    assert is_permanent(LoadStep.GRAPH, Code.FAILED_PRECONDITION, text)
    assert not is_permanent(LoadStep.FILES, Code.FAILED_PRECONDITION, text)
    assert not is_permanent(LoadStep.GRAPH, Code.FAILED_PRECONDITION, "The library /l/x.so is not there on this node")


def test_the_libraries_of_the_server_come_before_those_of_the_model() -> None:
    """Each once."""
    settings = ServerSettings(platforms=PlatformSettings(op_libraries=("/all.so", "ydf-tf")))
    config = ModelConfig("m", "/m", op_libraries=("ydf-tf", "/own.so"))

    assert named_libraries(ServableSpec(ServableId("m", 1), "/m/1", settings, config)) == (
        "/all.so",
        "ydf-tf",
        "/own.so",
    )
    assert named_libraries(ServableSpec(ServableId("m", 1), "/m/1")) == ()
