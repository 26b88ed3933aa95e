"""Judges the Python that a server runs on: how it was built, and whether what it imports is compiled already."""

from __future__ import annotations

import enum
from collections.abc import Mapping

OPTIONS = ("--enable-optimizations", "--with-lto")
"""Options of CPython's `configure`: optimization by a profile, and while linking."""

COMPILER_OPTIONS = ("-flto", "-fprofile-use")
COMPILER_VARIABLES = ("PY_CFLAGS", "PY_CFLAGS_NODIST", "PY_CORE_CFLAGS", "PY_LDFLAGS", "PY_LDFLAGS_NODIST")

GUIDE = "docs/operations.md, Python"


class PythonBuild(enum.Enum):
    """The build of an interpreter; some distributions optimize theirs and do not record it."""

    OPTIMIZED = "optimized"
    PLAIN = "plain"
    UNKNOWN = "unknown"


def python_build(variables: Mapping[str, object]) -> PythonBuild:
    """Return the build that the configuration variables of an interpreter (`sysconfig`) record."""
    if any(option in str(variables.get("CONFIG_ARGS", "")) for option in OPTIONS):
        return PythonBuild.OPTIMIZED
    compiled_with = " ".join(str(variables.get(name, "")) for name in COMPILER_VARIABLES)
    if any(option in compiled_with for option in COMPILER_OPTIONS):
        return PythonBuild.OPTIMIZED
    # Debian builds by a profile, too, and removes from the record what it did so with.
    return PythonBuild.PLAIN if variables.get("PGO_PROF_USE_FLAG") else PythonBuild.UNKNOWN


def python_warnings(version: str, executable: str, build: PythonBuild, uncompiled: str) -> tuple[str, ...]:
    """Return what makes a server on this Python slow; `uncompiled` is a folder that each process compiles anew."""
    warnings = []
    if build is PythonBuild.PLAIN:
        warnings.append(
            f"Python {version} ({executable}) was built without optimization (neither PGO nor LTO): requests cost "
            f"about a quarter more CPU than on an optimized build ({GUIDE})"
        )
    if uncompiled:
        warnings.append(
            f"{uncompiled} has no bytecode, and none is kept: each process of the server compiles it anew. Compile it "
            f"once: {executable} -m compileall -q {uncompiled} ({GUIDE})"
        )
    return tuple(warnings)
