"""What is installed: this server, its interpreter, the bytecode of what it imports.

`python -m deployments.system.installed` prints version and build of the interpreter for `make`; it needs no package.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import platform
import sys
import sysconfig
from importlib import metadata

from core.admin.python_build import python_build, python_warnings

LARGEST = "ray"
"""The package that costs each process most to compile."""


@functools.cache
def server_version() -> str:
    """Return the version of this server."""
    return metadata.version("ray-model-server")


@functools.cache
def interpreter_warnings() -> tuple[str, ...]:
    """Return what makes a server on this interpreter slow, a sentence each."""
    build = python_build(sysconfig.get_config_vars())
    return python_warnings(platform.python_version(), sys.executable, build, _compiled_anew())


def _compiled_anew() -> str:
    """Return the folder of Ray if it has no bytecode and the next start will not leave any; empty otherwise."""
    found = importlib.util.find_spec(LARGEST)
    if (
        found is None
        or found.origin is None
        or os.path.exists(cached := importlib.util.cache_from_source(found.origin))
    ):
        return ""
    keeps = not sys.dont_write_bytecode and _can_be_written(os.path.dirname(cached))
    return "" if keeps else os.path.dirname(found.origin)


def _can_be_written(folder: str) -> bool:
    while not os.path.exists(folder):
        folder = os.path.dirname(folder)
    return os.access(folder, os.W_OK)


if __name__ == "__main__":
    sys.stdout.write(f"{platform.python_version()} {python_build(sysconfig.get_config_vars()).value}\n")
