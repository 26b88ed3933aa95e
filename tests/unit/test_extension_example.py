"""The example of docs/extending.md: it is what the document shows, can be installed, and does what it says."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import numpy as np
import pytest

from core.config.joined_models import joined
from core.config.yaml_settings import read_yaml_settings
from core.errors import InvalidArgument, Unavailable
from core.platforms.platform import Platform
from core.storage.checksums import StoredChecksums
from core.storage.source_store import SourceStore
from core.versions.servable import ServableId
from core.versions.servable_spec import ServableSpec
from deployments.config.extension_points import extensions
from deployments.platforms.contract import CHECKS, Check, PlatformCase, Request
from examples.extension.example_extension.major_versions import NewestOfEachMajor
from examples.extension.example_extension.multiply import PLATFORM
from examples.extension.example_extension.zip_source import ZipSource
from tests.support.extension_packages import EXAMPLE, EXAMPLE_MODULE, install_example, on_path
from tests.support.project import ROOT

DOCUMENT = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(?:python|yaml) (\S+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
SHOWN = dict(BLOCK.findall(DOCUMENT))


def test_the_document_shows_the_files_of_the_example() -> None:
    """All of them, letter by letter."""
    files = {file.name: file.read_text() for file in (EXAMPLE / EXAMPLE_MODULE).glob("*.py") if file.stem != "__init__"}

    assert {name: text for name, text in SHOWN.items() if name.endswith(".py")} == files


def test_the_settings_of_the_document_are_valid(tmp_path: Path) -> None:
    """With the example installed, each name in them is known."""
    install_example(tmp_path)
    with on_path(tmp_path):
        (model,) = joined((), read_yaml_settings(SHOWN["settings.yaml"], "settings.yaml", extensions()))

    assert (model.platform.name, model.logging[0].collector) == ("multiply", "csv")
    assert model.policy.select(frozenset({10001, 10002, 20001, 30001})) == {20001, 30001}


def test_the_example_can_be_built(tmp_path: Path) -> None:
    """The package that an installer makes has the entry points that the tests install, and the modules."""
    shutil.copytree(EXAMPLE, tmp_path / "extension", ignore=shutil.ignore_patterns("__pycache__"))
    build = "from setuptools import build_meta; build_meta.build_wheel('..')"
    subprocess.run([sys.executable, "-c", build], cwd=tmp_path / "extension", check=True, capture_output=True)

    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as file:
        registered = file.read("example_extension-1.0.dist-info/entry_points.txt").decode()
        modules = {name for name in file.namelist() if name.endswith(".py")}
    declared = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]["entry-points"]
    assert all(f"{name} = {value}" in registered for one in declared.values() for name, value in one.items())
    assert {f"{EXAMPLE_MODULE}/{name}" for name in SHOWN if name.endswith(".py")} <= modules


def version(folder: Path, factor: str | None) -> ServableSpec:
    """Make a version of the platform in a folder."""
    if factor is not None:
        (folder / "factor.txt").write_text(factor)
    return ServableSpec(ServableId("m", 1), str(folder))


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_the_platform_keeps_to_the_contract(tmp_path: Path, check: Check) -> None:
    """The same checks as for those that are built in."""
    path = version(tmp_path, "2.5").path
    arrays = (np.ones((1, 2), np.float32), np.eye(2, dtype=np.float32))

    check(PlatformCase(PLATFORM, path, tuple(Request({"x": x}, {"y": 2.5 * x}) for x in arrays)))


def test_the_platform_multiplies(tmp_path: Path) -> None:
    """A closed version answers no more."""
    platform: Platform = PLATFORM
    loaded = platform.load(version(tmp_path, "2.5"))

    (answer,) = loaded.run({"x": np.array([2.0, 4.0], np.float32)}, ["y"])

    assert answer.tolist() == [5.0, 10.0]
    assert answer.dtype == np.float32
    loaded.close()
    with pytest.raises(Unavailable):
        loaded.run({"x": np.array([2.0], np.float32)}, ["y"])


@pytest.mark.parametrize("factor", [None, "", "two", "1 2"])
def test_a_version_without_a_number_cannot_be_loaded(tmp_path: Path, factor: str | None) -> None:
    """The text names the file."""
    with pytest.raises(InvalidArgument, match=r"factor\.txt does not hold a number"):
        PLATFORM.load(version(tmp_path, factor))


def test_the_source_reads_what_is_in_a_zip_file(tmp_path: Path) -> None:
    """Pieces of files, by paths below a folder or the whole archive."""
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        file.mkdir("m")
        file.writestr("m/1/f", b"0123456789")
    source: SourceStore = ZipSource()
    url = f"zip+file://{tmp_path}/a.zip"

    assert set(source.list_files(url)) == {"m/1/f"}
    assert set(source.list_files(f"{url}/m/")) == {"1/f"}
    assert source.read(f"{url}/m", "1/f", 3, 6) == b"345"
    assert source.checksums(f"{url}/m", "1/f") == StoredChecksums({"crc32": "a684c7c6"})


@pytest.mark.parametrize("rest", ["/b.zip/m", "/a.zip/n", "/a.zip/m/1/f", "/a.txt"])
def test_what_is_not_in_a_zip_file_is_not_found(tmp_path: Path, rest: str) -> None:
    """Neither an archive nor a folder that is not there."""
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        file.writestr("m/1/f", b"0123456789")

    with pytest.raises(FileNotFoundError):
        ZipSource().list_files(f"zip+file://{tmp_path}{rest}")


@pytest.mark.parametrize("arguments", [{"digits": 0}, {"majors": 0}, {"digits": -1}])
def test_the_policy_refuses_arguments_without_sense(arguments: dict[str, int]) -> None:
    """They would select nothing, or everything."""
    with pytest.raises(ValueError, match="at least 1"):
        NewestOfEachMajor(**arguments)
