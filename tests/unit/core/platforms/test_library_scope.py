"""What is written for the loader of shared libraries, and read from its files; the loader itself takes part."""

from __future__ import annotations

import ctypes
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.platforms.library_scope import elf_machine, is_cut_short, scope_library
from tests.support.shared_libraries import compiled

OUTER = "int value(void) { return 1; }"
INNER = "__attribute__((weak)) int value(void) { return 2; } int asked(void) { return value(); }"


@pytest.fixture(scope="module")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A library, and another one that has its own copy of the same function."""
    folder = tmp_path_factory.mktemp("libraries")
    return compiled(folder / "libouter.so", OUTER), compiled(folder / "libinner.so", INNER)


def machine() -> int:
    """Return the number of this machine's processor."""
    return elf_machine(Path(sys.executable).read_bytes()[:64])


def test_a_library_in_a_scope_takes_the_symbols_of_the_libraries_before_it(libraries, tmp_path: Path) -> None:
    """And keeps its own where none has them."""
    scope = tmp_path / "scope.so"
    scope.write_bytes(scope_library([os.fsencode(one) for one in libraries], machine()))

    assert ctypes.CDLL(str(scope)).asked() == 1


def test_a_scope_gives_no_symbol_to_the_process(libraries, tmp_path: Path) -> None:
    """Libraries that are opened later find their own."""
    scope = tmp_path / "scope.so"
    scope.write_bytes(scope_library([os.fsencode(one) for one in libraries], machine()))
    ctypes.CDLL(str(scope))

    assert not hasattr(ctypes.CDLL(None), "asked")


STACKS = """
import ctypes, sys
from pathlib import Path
ctypes.CDLL(sys.argv[1])
stack, = [line for line in Path("/proc/self/maps").read_text().splitlines() if line.endswith("[stack]")]
print(stack.split()[1])
"""


def test_a_scope_leaves_the_stack_as_it_is(tmp_path: Path) -> None:
    """A library that does not speak of it would make it executable."""
    scope = tmp_path / "scope.so"
    scope.write_bytes(scope_library([b"libm.so.6"], machine()))
    run = subprocess.run([sys.executable, "-c", STACKS, scope], capture_output=True, text=True, check=True)

    assert run.stdout.strip() == "rw-p"


def test_a_scope_of_an_absent_library_names_it(tmp_path: Path) -> None:
    """The loader's text is the operator's."""
    scope = tmp_path / "scope.so"
    scope.write_bytes(scope_library([b"/absent/library.so"], machine()))

    with pytest.raises(OSError, match=r"^/absent/library\.so: cannot open shared object file"):
        ctypes.CDLL(str(scope))


def test_the_processor_is_that_of_the_header() -> None:
    """By the numbers of the ABI."""
    known = {"x86_64": 62, "aarch64": 183}

    assert machine() == known[platform.machine()]
    assert elf_machine(scope_library([], 183)) == 183


def test_a_whole_library_is_not_cut_short(libraries) -> None:
    """Nor is one that the server writes."""
    for content in (libraries[0].read_bytes(), scope_library([b"libm.so.6"], machine())):
        assert not is_cut_short(content, len(content))


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_a_part_of_a_library_is_cut_short(libraries, share: float) -> None:
    """The loader would end the process while it reads what is not there."""
    content = libraries[0].read_bytes()
    size = int(len(content) * share)

    assert is_cut_short(content[:size], size)


@given(st.binary(max_size=300))
def test_any_other_content_is_left_to_the_loader(content: bytes) -> None:
    """Its texts for it are known."""
    assert not is_cut_short(content, len(content))


@given(st.binary(max_size=300))
def test_any_header_is_read(content: bytes) -> None:
    """Whatever numbers stand in it."""
    assert is_cut_short(b"\x7fELF\x02\x01" + content, 10**30) is False
