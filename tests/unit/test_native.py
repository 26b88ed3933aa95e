"""The compiled part in C: sound under sanitizers, built where there is a compiler, and no loss where there is none."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import pytest

from tests.chaos.sanitizers import SANITIZERS, SOURCES, build_wheel, copy_source, sanitized_run

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")

ROUNDS = 2000
COMPILED = ["core/json/_number_lists.abi3.so", "deployments/runtime/_session_run.abi3.so"]


@pytest.mark.parametrize("source", SOURCES, ids=lambda one: one.stem)
@pytest.mark.parametrize("sanitizer", SANITIZERS.values())
def test_nothing_is_wrong_that_a_sanitizer_sees(tmp_path: Path, source: Path, sanitizer: str) -> None:
    """Runs that fail, no memory, damaged texts, from several threads; the long form is in `make chaos`."""
    done = sanitized_run(tmp_path, source, sanitizer, ROUNDS)

    assert (done.returncode, done.stderr) == (0, "")


DEFECTS = {
    "outputs of a failed run": (
        0,
        "delete_tensors(room->tensors, wiring->fetched);\n  return FAILED;",
        "return FAILED;",
    ),
    "end of the room": (0, "size > room->content_size - start", "size > room->content_size"),
    "inputs": (0, "delete_tensors(inputs, made);", ""),
    "strings": (0, "free(strings);", ""),
    "extents": (0, "extents += 2 + rank;", "extents += 1 + rank;"),
    "room for numbers": (1, " || count == room)", " || count == room + 1)"),
    "depth": (1, "depth == MOST_RANK || ", ""),
    "end of the text": (1, "while (text->end - text->at >= 16)", "while (text->end - text->at >= 15)"),
    "rounding": (1, "(mantissa + (mantissa & 1)) >> 1", "mantissa >> 1"),
    "ragged": (1, "if (dims[*depth] != sizes[*depth]) return 0;", ""),
}


@pytest.mark.parametrize("defect", DEFECTS)
def test_the_driver_sees_what_is_wrong(tmp_path: Path, defect: str) -> None:
    """A driver that misses the defects it is for would prove nothing."""
    which, right, wrong = DEFECTS[defect]
    source = tmp_path / SOURCES[which].name
    text = SOURCES[which].read_text()
    assert text.count(right) == 1
    source.write_text(text.replace(right, wrong))

    assert sanitized_run(tmp_path, source, "address,undefined", ROUNDS).returncode != 0


@pytest.mark.parametrize(("compiler", "is_compiled"), [("cc", True), ("/bin/false", False)])
def test_a_wheel_is_built_with_and_without_a_compiler(tmp_path: Path, compiler: str, *, is_compiled: bool) -> None:
    """One for all versions of CPython; where nothing can be compiled, the installation goes on without that part."""
    (tmp_path / "source").mkdir()

    wheel = build_wheel(copy_source(tmp_path / "source"), tmp_path / "wheels", CC=compiler)

    with zipfile.ZipFile(wheel) as content:
        compiled = [name for name in content.namelist() if name.endswith(".so")]
    assert sorted(compiled) == (COMPILED if is_compiled else [])
    assert "-cp311-abi3-" in wheel.name
