"""Describes the compiled parts to setuptools, which builds them at install.

They are optional: without a C compiler the installation goes on, and Python and its libraries do the same work.
"""

from __future__ import annotations

from pathlib import Path

from cffi import FFI

FOLDER = Path(__file__).parent
LIMITED_API = "0x030b0000"
"""The oldest CPython that is supported, 3.11: one build serves it and all later ones."""


def part(name: str, source: str) -> FFI:
    """Return the extension module over one of the C files, whose header has its declarations."""
    builder = FFI()
    builder.cdef((FOLDER / f"{source}.h").read_text())
    builder.set_source(
        name,
        f'#include "{source}.h"',
        sources=[f"native/{source}.c"],
        include_dirs=["native"],
        depends=[f"native/{source}.h", "native/powers_of_five.h"],
        define_macros=[("Py_LIMITED_API", LIMITED_API)],
        extra_compile_args=["-O3"],
        optional=True,
    )
    return builder


session_run = part("deployments.runtime._session_run", "session_run")
number_lists = part("core.json._number_lists", "number_lists")
