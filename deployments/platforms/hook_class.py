"""Finds the hooks of a version, imports their class and makes the one object of it.

They are `assets.extra/hooks.py` in the version's folder (class `Hooks`), or the class that the model's setting `hooks`
names as `module:Class`. This runs code that came with a model, so it needs `--allow_python_servables`.
"""

from __future__ import annotations

import importlib
import inspect
import logging
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from core.errors import FailedPrecondition, InvalidArgument, Unimplemented
from core.inference.signature import DEFAULT_SIGNATURE
from core.platforms.code_faults import error_text, fault_text
from core.platforms.hooked_signature import HookContext, HookDeclaration
from core.versions.servable_spec import ServableSpec
from deployments.system import code_file
from deployments.system.code_file import imported_file

log = logging.getLogger(__name__)

HOOKS_FILE = "assets.extra/hooks.py"
HOOKS_CLASS = "Hooks"
MODULE_NAME = "model_hooks"
"""Under which the file is imported: it must not hide an installed package called `hooks`."""

HookMethod = Callable[[dict[str, Any], HookContext], object]


@dataclass(frozen=True, slots=True)
class LoadedHooks:
    """An object of a class of hooks that has read its files; `name` is that of the class in texts."""

    name: str
    declaration: HookDeclaration
    preprocess: HookMethod | None
    postprocess: HookMethod | None


def hooks_of(spec: ServableSpec) -> LoadedHooks | None:
    """Import and load the hooks of a version, None if it has none.

    Raises Unimplemented where they are not allowed, and FailedPrecondition or InvalidArgument, with the class, the file
    and the line, where they cannot be loaded.
    """
    name = spec.config.hooks if spec.config is not None else ""
    file = Path(spec.path) / HOOKS_FILE
    if not name and not file.is_file():
        return None
    if not spec.settings.platforms.allow_python:
        found = f"The setting hooks of the model names {name}" if name else f"The version's folder holds {HOOKS_FILE}"
        text = f"{found}, which is code that runs in the model server: start the server with"
        raise Unimplemented(f"{text} --allow_python_servables to allow that, or take the hooks away")
    return _loaded(name, spec.path) if name else _loaded_from(file, spec.path)


def _loaded(name: str, path: str) -> LoadedHooks:
    module, _, attribute = name.partition(":")
    with _named_failures(name, InvalidArgument):
        imported = importlib.import_module(module)
    return _object_of(imported, attribute, name, path)


def _loaded_from(file: Path, path: str) -> LoadedHooks:
    name = f"{HOOKS_FILE}:{HOOKS_CLASS}"
    with _named_failures(name, InvalidArgument):
        imported = imported_file(str(file), MODULE_NAME)
    return _object_of(imported, HOOKS_CLASS, name, path)


def _object_of(module: ModuleType, attribute: str, name: str, path: str) -> LoadedHooks:
    kind = getattr(module, attribute, None)
    if not inspect.isclass(kind):
        raise InvalidArgument(f"Hook {name} cannot be loaded: {module.__file__} has no class {attribute}")
    with _named_failures(name, FailedPrecondition):
        hooks = kind()
        if hasattr(hooks, "load"):
            hooks.load(path)
    preprocess, postprocess = _method(hooks, "preprocess", name), _method(hooks, "postprocess", name)
    declaration = HookDeclaration(
        where=f"Hook {name}",
        signature=getattr(hooks, "signature", DEFAULT_SIGNATURE),
        inputs=getattr(hooks, "inputs", None),
        outputs=getattr(hooks, "outputs", None),
        has_preprocess=preprocess is not None,
        has_postprocess=postprocess is not None,
    )
    return LoadedHooks(name, declaration, preprocess, postprocess)


def _method(hooks: object, method: str, name: str) -> HookMethod | None:
    found: HookMethod | None = getattr(hooks, method, None)
    if found is not None and (not callable(found) or inspect.iscoroutinefunction(found)):
        raise InvalidArgument(f"Hook {name}: {method} is not a method, or is an asynchronous one")
    return found


@contextmanager
def _named_failures(name: str, kind: type[InvalidArgument | FailedPrecondition]) -> Iterator[None]:
    """Turn whatever user code raises into an error that says which hook failed, and where.

    A module that is missing may be installed later, and a file that cannot be read may be soon: these are not failures
    of the version's content.
    """
    try:
        yield
    except BaseException as error:  # SystemExit, too, must become the text of a failed load
        log.exception("hook_load_failed hook=%s", name)
        text = f"Hook {name} cannot be loaded: {_fault(error)}"
        raise (FailedPrecondition if isinstance(error, (ImportError, OSError)) else kind)(text) from error


def _fault(error: BaseException) -> str:
    """Return an error with its place in the user's own file, from which libraries were called."""
    frames = [one for one in traceback.extract_tb(error.__traceback__) if not _is_of_import(one.filename)]
    if not frames and not isinstance(error, SyntaxError):
        return error_text(error)
    return fault_text(error, frames[0].filename if frames else "")


def _is_of_import(file: str) -> bool:
    return file in (__file__, code_file.__file__, importlib.__file__) or file.startswith("<frozen ")
