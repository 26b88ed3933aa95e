"""The compiled parts under sanitizers: the runtime's with a small library in TensorFlow's place, and with TensorFlow."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

from tests.support.project import ROOT

SANITIZERS: Final[Mapping[str, str]] = MappingProxyType(
    {"memory and undefined behaviour": "address,undefined", "races of threads": "thread"}
)
SOURCES: Final = (ROOT / "native" / "session_run.c", ROOT / "native" / "number_lists.c")
DRIVERS: Final = ROOT / "tests" / "chaos" / "native"
STRICT: Final = ("-std=c11", "-Wall", "-Wextra", "-Werror", "-O1", "-g", "-pthread", "-fno-sanitize-recover=all")
THREADS: Final = 4
TESTED: Final = ("tests/unit/deployments/runtime/test_compiled_run.py", "tests/unit/core/json/test_cut_lists.py")


def sanitized_run(folder: Path, source: Path, sanitizer: str, rounds: int) -> subprocess.CompletedProcess[str]:
    """Compile a source with its driver in an empty folder, and run both; what is wrong stands in `stderr`."""
    program = folder / "driver"
    files = (f"-I{SOURCES[0].parent}", DRIVERS / f"drive_{source.name}", source, "-o", program)
    subprocess.run(["cc", *STRICT, f"-fsanitize={sanitizer}", *files], check=True)
    command = [str(program), str(THREADS), str(rounds), "1"]
    return subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)


def copy_source(folder: Path) -> Path:
    """Copy what a wheel is built from, without what was built here."""
    for name in ("core", "deployments", "native"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    for name in ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    return folder


def build_wheel(source: Path, folder: Path, **environment: str) -> Path:
    """Build a wheel of a copy of the source."""
    command = [sys.executable, "-m", "uv", "build", "--quiet", "--wheel", "--python", sys.executable]
    subprocess.run([*command, "-o", folder, source], check=True, env={**os.environ, **environment})
    (wheel,) = folder.glob("*.whl")
    return wheel


def sanitized_tests(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the tests of the compiled parts from Python, with TensorFlow itself, in an empty folder; these are not looked at."""
    source = copy_source(folder)
    shutil.copytree(ROOT / "tests", source / "tests", ignore=shutil.ignore_patterns("__pycache__"))
    wheel = build_wheel(source, folder / "wheels", CFLAGS="-fsanitize=address,undefined -O1 -g")
    with zipfile.ZipFile(wheel) as content:
        content.extractall(source, [name for name in content.namelist() if name.endswith(".so")])
    libraries = [_file_of(name) for name in ("libasan.so", "libubsan.so")]
    # Python and TensorFlow leave at the end what the system takes back: what leaks is for the other run to see.
    environment = {"LD_PRELOAD": " ".join(libraries), "ASAN_OPTIONS": "detect_leaks=0"}
    command = [sys.executable, "-m", "pytest", "-q", *TESTED]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=source, env={**os.environ, **environment}
    )


def _file_of(library: str) -> str:
    found = subprocess.run(["cc", f"-print-file-name={library}"], capture_output=True, text=True, check=True)
    return found.stdout.strip()
