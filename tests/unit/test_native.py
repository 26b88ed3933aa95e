"""The compiled part in C: sound under sanitizers, built where there is a compiler, and no loss where there is none."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import pytest

from tests.chaos.sanitizers import SANITIZERS, SOURCE, build_wheel, copy_source, sanitized_run

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


@pytest.mark.parametrize(("compiler", "is_compiled"), [("cc", True), ("/bin/false", False)])
def test_a_wheel_is_built_with_and_without_a_compiler(tmp_path: Path, compiler: str, *, is_compiled: bool) -> None:
    """One for all versions of CPython; where nothing can be compiled, the installation goes on without that part."""
    (tmp_path / "source").mkdir()

    wheel = build_wheel(copy_source(tmp_path / "source"), tmp_path / "wheels", CC=compiler)

    with zipfile.ZipFile(wheel) as content:
        compiled = [name for name in content.namelist() if name.endswith(".so")]
    assert compiled == (["deployments/runtime/_session_run.abi3.so"] if is_compiled else [])
    assert "-cp311-abi3-" in wheel.name
