"""A SavedModel with a damaged file is refused by the name of the file, its size and what was expected."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from core.errors import Code, RuntimeFailure
from core.storage.damaged_model import damaged_file
from core.storage.whole_saved_model import MOST_FIELDS
from core.versions.load_report import LoadStep, is_permanent
from deployments.runtime import damaged_files
from deployments.runtime.saved_model import load

MODEL, INDEX, DATA = "saved_model.pb", "variables/variables.index", "variables/variables.data-00000-of-00001"
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n"


def cut(name: str, size: int) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:size])


def written(name: str, content: bytes) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_bytes(content)


def refused(path: Path) -> RuntimeFailure:
    with pytest.raises(RuntimeFailure) as caught:
        load(str(path), tags=frozenset({"serve"}), name="m", version=1)
    return caught.value


@pytest.mark.parametrize(
    ("damaged", "text"),
    [
        pytest.param(written(MODEL, b""), r"/saved_model\.pb is empty \(Could not find meta graph", id="empty"),
        pytest.param(cut(MODEL, 500), r"/saved_model\.pb \(500 bytes\) is cut off or is not .*tensorflow\.SavedModel", id="half"),
        pytest.param(written(MODEL, b"\0\xff" * 99), r"/saved_model\.pb \(198 bytes\) is cut off or is not", id="garbage"),
        pytest.param(written(MODEL, POINTER), r"/saved_model\.pb \(63 bytes\) is a pointer of Git LFS", id="model pointer"),
        pytest.param(cut(INDEX, 20), r"/variables\.index \(20 bytes\) is cut off or is not the index", id="index"),
        pytest.param(written(INDEX, POINTER), r"/variables\.index \(63 bytes\) is a pointer of Git LFS", id="index pointer"),
        pytest.param(cut(DATA, 100), r"00000-of-00001 is cut off: it has 100 bytes, and .*index says that it has [\d,]+ \(", id="data"),
        pytest.param(lambda folder: (folder / DATA).unlink(), r"00000-of-00001 is missing: .*index says", id="no data"),
    ],
)  # fmt: skip
def test_the_error_names_the_damaged_file(saved_models: Path, tmp_path: Path, damaged, text) -> None:
    """With the runtime's own words behind it; and a file that stays as it is is not tried for minutes."""
    folder = tmp_path / "1"
    shutil.copytree(saved_models / "mlp" / "1", folder)
    damaged(folder)

    error = refused(folder)

    assert error.args[1].startswith(f"{folder}/")
    assert re.search(text, str(error)), str(error)
    assert "\n" not in str(error)
    assert is_permanent(LoadStep.GRAPH, error.code, str(error)) or error.code is Code.NOT_FOUND


def test_an_error_of_whole_files_stays_as_it_is(saved_models: Path) -> None:
    """A set of tags that is not there is no damage."""
    with pytest.raises(RuntimeFailure, match=r"^Could not find meta graph def") as caught:
        load(str(saved_models / "mlp" / "1"), tags=frozenset({"other"}), name="m", version=1)

    assert caught.value.code is Code.NOT_FOUND


def test_an_index_that_is_too_long_is_not_called_cut_off(saved_models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A part of it says nothing of the whole."""
    path = saved_models / "mlp" / "1"
    monkeypatch.setattr(damaged_files, "LONGEST_INDEX_BYTES", (path / INDEX).stat().st_size - 1)

    assert damaged_files.damage_in(str(path)) == ""


@pytest.mark.parametrize(
    "model",
    [b"\x08\x01" * (MOST_FIELDS + 1), b"\x12\x00" * (MOST_FIELDS + 1), b"\x12" + bytes([0xA4, 0x9C, 1]) + b"\x32\x00" * 10_002],
    ids=["fields", "graphs", "assets of a graph"],
)  # fmt: skip
def test_a_model_of_very_many_fields_is_not_called_cut_off(model: bytes) -> None:
    """They are not counted to their end."""
    assert damaged_file({MODEL: len(model)}, lambda start, end: model[start:end], b"") == ""


def test_an_index_that_is_compressed_is_not_called_cut_off(saved_models: Path) -> None:
    """TensorFlow reads such a table."""
    index = bytearray((saved_models / "mlp" / "1" / INDEX).read_bytes())
    at = -48
    for _ in range(3):  # two numbers of the metadata's place, then where the table of blocks begins
        place, at = number(index, at)
    size, _ = number(index, at)
    index[place + size] = 1

    assert damaged_file({INDEX: len(index)}, lambda start, end: b"", bytes(index)) == ""


def number(data: bytearray, at: int) -> tuple[int, int]:
    """Return a varint and the place after it."""
    value = shift = 0
    while True:
        value, shift, at = value | (data[at] & 0x7F) << shift, shift + 7, at + 1
        if data[at - 1] < 0x80:
            return value, at
