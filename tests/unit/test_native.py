"""The compiled part in C: sound under sanitizers, built where there is a compiler, and no loss where there is none."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.chaos.sanitizers import SANITIZERS, SOURCE, sanitized_run
from tests.support.project import ROOT

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")

ROUNDS = 2000


@pytest.mark.parametrize("sanitizer", SANITIZERS.values())
def test_nothing_is_wrong_that_a_sanitizer_sees(tmp_path: Path, sanitizer: str) -> None:
    """Runs that fail, no memory, inputs as outputs, strings, from several threads; the long form is in `make chaos`."""
    done = sanitized_run(tmp_path, sanitizer, ROUNDS)

    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("delete_tensors(room->tensors, wiring->fetched);\n  return FAILED;", "return FAILED;"),
        ("size > room->content_size - start", "size > room->content_size"),
        ("delete_tensors(inputs, made);", ""),
        ("free(strings);", ""),
        ("extents += 2 + rank;", "extents += 1 + rank;"),
    ],
    ids=["outputs of a failed run", "end of the room", "inputs", "strings", "extents"],
)
def test_the_driver_sees_what_is_wrong(tmp_path: Path, right: str, wrong: str) -> None:
    """A driver that misses the defects it is for would prove nothing."""
    source = tmp_path / "session_run.c"
    text = SOURCE.read_text()
    assert text.count(right) == 1
    source.write_text(text.replace(right, wrong))

    assert sanitized_run(tmp_path, "address,undefined", ROUNDS, source).returncode != 0


@pytest.fixture(scope="module")
def source_tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a wheel is built from, without what was built here."""
    copy = tmp_path_factory.mktemp("source")
    for name in ("core", "deployments", "native"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    for name in ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    return copy


@pytest.mark.parametrize(("compiler", "is_compiled"), [("cc", True), ("/bin/false", False)])
def test_a_wheel_is_built_with_and_without_a_compiler(
    tmp_path: Path, source_tree: Path, compiler: str, *, is_compiled: bool
) -> None:
    """One for all versions of CPython; where nothing can be compiled, the installation goes on without that part."""
    source = shutil.copytree(source_tree, tmp_path / "source")
    command = [sys.executable, "-m", "uv", "build", "--quiet", "--wheel", "--python", sys.executable]

    subprocess.run([*command, "-o", tmp_path / "wheels", source], check=True, env={**os.environ, "CC": compiler})

    (wheel,) = (tmp_path / "wheels").glob("*.whl")
    with zipfile.ZipFile(wheel) as content:
        compiled = [name for name in content.namelist() if name.endswith(".so")]
    assert compiled == (["deployments/runtime/_session_run.abi3.so"] if is_compiled else [])
    assert "-cp311-abi3-" in wheel.name
