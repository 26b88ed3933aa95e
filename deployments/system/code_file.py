"""Imports a file of Python code by its path."""

from __future__ import annotations

import importlib.util
import os
import sys
from types import ModuleType


def imported_file(file: str, name: str) -> ModuleType:
    """Import a file under a name of its own; files beside it can be imported from there.

    From then on the process writes no bytecode: it would change the folder, which may be watched for changes. Raises
    ImportError for what is not a Python file, and whatever the code raises, SystemExit included.
    """
    sys.dont_write_bytecode = True
    source = importlib.util.spec_from_file_location(name, file)
    if source is None or source.loader is None:
        raise ImportError(f"{file} is not a Python file")
    folder = os.path.dirname(file)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    sys.modules[name] = module = importlib.util.module_from_spec(source)  # where dataclasses and pickle look for it
    try:
        source.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
