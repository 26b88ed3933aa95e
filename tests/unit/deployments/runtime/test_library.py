"""The runtime library is found and opened without Python TensorFlow, and its errors become ours."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata

import pytest

from core.errors import Code, FailedPrecondition, RuntimeFailure
from deployments.runtime import library as tensorflow_library
from deployments.runtime.library import c_text, check, library, library_path, new_status


def test_the_library_is_opened_once_however_many_threads_ask() -> None:
    """Every caller gets the same library."""
    with ThreadPoolExecutor(8) as threads:
        opened = list(threads.map(lambda _: library(), range(32)))

    assert all(lib is opened[0] for lib in opened)


def test_the_library_is_that_of_the_wheel() -> None:
    """The library comes from the installed wheel, and is of the version that the wheel names."""
    assert c_text(library().TF_Version()) == metadata.version("tensorflow")
    assert library_path().name in tensorflow_library.LIBRARY_NAMES


def test_importing_the_shells_neither_imports_tensorflow_nor_opens_its_library() -> None:
    """Only a loaded model needs the library, and nothing needs Python TensorFlow."""
    program = (
        "import sys, deployments.runtime.saved_model, deployments.runtime.library as library;"
        "sys.exit('tensorflow' in sys.modules or bool(library._opened))"
    )

    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_python_tensorflow_is_not_in_this_process() -> None:
    """Opening the library does not bring the Python package."""
    library()

    assert "tensorflow" not in sys.modules


def test_a_process_that_has_opened_the_library_ends_in_order() -> None:
    """What the library wants done at the end of the process is done while it is still there."""
    code = (
        "from deployments.runtime.compiled import compiled\n"
        "from deployments.runtime.library import library\n"
        "compiled(library())"
    )

    ended = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True)

    assert ended.returncode == 0, ended.stderr


def test_a_missing_wheel_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The operator learns which file is wanted."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)

    with pytest.raises(FailedPrecondition, match="libtensorflow_cc"):
        library_path()


def test_a_wheel_without_the_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A package of that name that lacks the library counts as missing."""
    monkeypatch.setattr(tensorflow_library, "LIBRARY_NAMES", ("no_such_library.so",))

    with pytest.raises(FailedPrecondition, match="no_such_library"):
        library_path()


def test_an_ok_status_raises_nothing() -> None:
    """A fresh status is OK."""
    check(library(), new_status(library()))


class FakeLibrary:
    """Answers with one status."""

    def __init__(self, number: int, message: bytes) -> None:
        self.number = number
        self.message = tensorflow_library.ffi.new("char[]", message)

    def TF_GetCode(self, status: object) -> int:
        return self.number

    def TF_Message(self, status: object) -> object:
        return self.message


@pytest.mark.parametrize(
    ("number", "code"),
    [(3, Code.INVALID_ARGUMENT), (15, Code.DATA_LOSS), (16, Code.UNAUTHENTICATED), (99, Code.UNKNOWN)],
)
def test_a_failed_status_raises_its_code_and_message(number: int, code: Code) -> None:
    """Codes keep their number; a number that nobody knows counts as UNKNOWN."""
    with pytest.raises(RuntimeFailure) as failure:
        check(FakeLibrary(number, b"no \xff luck"), None)

    assert (failure.value.code, str(failure.value)) == (code, "no \N{REPLACEMENT CHARACTER} luck")


def test_what_finalizers_call_is_there_before_they_come() -> None:
    """The garbage collector may call them while this very thread has cffi make another function, under its lock."""
    program = (
        "import sys, deployments.runtime.library as library;"
        "lib = library.library();"
        "sys.exit(any(name not in vars(lib) for name in library.CALLED_BY_FINALIZERS))"
    )

    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
