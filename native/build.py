"""Describes the extension module `deployments.runtime._session_run` to setuptools, which compiles it at install.

It is optional: without a C compiler the installation goes on, and runs are called by Python alone.
"""

from __future__ import annotations

from pathlib import Path

from cffi import FFI

FOLDER = Path(__file__).parent
LIMITED_API = "0x030b0000"
"""The oldest CPython that is supported, 3.11: one build serves it and all later ones."""

ffibuilder = FFI()
ffibuilder.cdef((FOLDER / "session_run.h").read_text())
ffibuilder.set_source(
    "deployments.runtime._session_run",
    '#include "session_run.h"',
    sources=["native/session_run.c"],
    include_dirs=["native"],
    depends=["native/session_run.h"],
    define_macros=[("Py_LIMITED_API", LIMITED_API)],
    optional=True,
)
