"""The compiled part of the runtime, under sanitizers, against a small library in TensorFlow's place."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

from tests.support.project import ROOT

SANITIZERS: Final[Mapping[str, str]] = MappingProxyType(
    {"memory and undefined behaviour": "address,undefined", "races of threads": "thread"}
)
SOURCE: Final = ROOT / "native" / "session_run.c"
DRIVER: Final = ROOT / "tests" / "chaos" / "native" / "main.c"
STRICT: Final = ("-std=c11", "-Wall", "-Wextra", "-Werror", "-O1", "-g", "-pthread", "-fno-sanitize-recover=all")
THREADS: Final = 4


def sanitized_run(folder: Path, sanitizer: str, rounds: int, source: Path = SOURCE) -> subprocess.CompletedProcess[str]:
    """Compile the source with its driver in an empty folder, and run both; what is wrong stands in `stderr`."""
    program = folder / "driver"
    files = (f"-I{SOURCE.parent}", DRIVER, source, "-o", program)
    subprocess.run(["cc", *STRICT, f"-fsanitize={sanitizer}", *files], check=True)
    command = [str(program), str(THREADS), str(rounds), "1"]
    return subprocess.run(command, capture_output=True, text=True, check=False)
