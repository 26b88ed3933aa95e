"""Annotations compared with what really comes: every call of a package's functions, while something runs."""

from __future__ import annotations

import collections.abc
import importlib
import inspect
import pkgutil
import sys
import types
import typing
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType, ModuleType
from typing import Any

import simdjson

Functions = dict[types.CodeType, dict[str, Any]]
MOST_ELEMENTS = 8
"""As many elements of a container are looked at."""


def _functions(module: ModuleType) -> Iterator[Callable[..., Any]]:
    for value in vars(module).values():
        if inspect.isfunction(value) and value.__module__ == module.__name__:
            yield value
        elif inspect.isclass(value) and value.__module__ == module.__name__:
            for member in vars(value).values():
                plain = member.fget if isinstance(member, property) else getattr(member, "__func__", member)
                if inspect.isfunction(plain):
                    yield plain


def annotated(package: str) -> Functions:
    """Return the annotations of all functions of a package, by their code."""
    root = importlib.import_module(package)
    names = [one.name for one in pkgutil.iter_modules(root.__path__, package + ".")]
    found: Functions = {}
    for module in map(importlib.import_module, names):
        for function in _functions(module):
            if function.__code__.co_filename != module.__file__:
                continue  # made by a dataclass
            found[function.__code__] = typing.get_type_hints(function)
    return found


def fits(value: Any, hint: Any) -> bool:
    """Whether a value is of an annotated type; of large containers, the first elements are looked at."""
    if hint in {Any, None} or isinstance(hint, (typing.TypeVar, typing.ForwardRef, str)):
        return hint is not None or value is None
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in {typing.Union, types.UnionType}:
        return any(fits(value, one) for one in arguments)
    if origin is None:
        return isinstance(value, hint) or (hint is float and isinstance(value, int))
    if not isinstance(value, origin):
        return False
    return _elements_fit(value, origin, arguments)


def _elements_fit(value: Any, origin: type, arguments: tuple[Any, ...]) -> bool:
    if origin is tuple and not (len(arguments) == 2 and arguments[1] is Ellipsis):
        return len(value) == len(arguments) and all(map(fits, value, arguments))
    if issubclass(origin, collections.abc.Mapping):
        return all(
            fits(key, arguments[0]) and fits(one, arguments[1]) for key, one in list(value.items())[:MOST_ELEMENTS]
        )
    if issubclass(origin, (collections.abc.Sequence, collections.abc.Set)) and not isinstance(value, simdjson.Array):
        return all(fits(one, arguments[0]) for one in list(value)[:MOST_ELEMENTS])
    return True


def _is_generator(code: types.CodeType) -> bool:
    return bool(code.co_flags & (inspect.CO_GENERATOR | inspect.CO_COROUTINE))


@contextmanager
def annotations_checked(package: str) -> Iterator[tuple[set[str], list[str]]]:
    """Yield the names of the functions that were called, and what did not fit; both grow while the block runs."""
    functions, called, wrong = annotated(package), set(), []

    def check(frame: FrameType, event: str, result: Any) -> None:
        hints = functions.get(frame.f_code)
        if hints is None:
            return
        name = frame.f_code.co_qualname
        called.add(name)
        if event == "call":
            given = {key: frame.f_locals[key] for key in hints if key != "return" and key in frame.f_locals}
            wrong.extend(f"{name}({key}={type(one)})" for key, one in given.items() if not fits(one, hints[key]))
        # A call that ends with an exception returns None, too.
        elif result is None or event != "return" or _is_generator(frame.f_code):
            return
        elif not fits(result, hints.get("return", Any)):
            wrong.append(f"{name} -> {type(result)}")

    before = sys.getprofile()
    sys.setprofile(check)
    try:
        yield called, wrong
    finally:
        sys.setprofile(before)
