"""The modules of `core/` and `deployments/` as syntax trees, and questions about them."""

from __future__ import annotations

import ast
import functools
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.support.project import ROOT

PACKAGES = ("core", "deployments")
USERS = (*PACKAGES, "benchmarks", "examples")
Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, eq=False)
class Module:
    """A module: its dotted name and its parsed source."""

    name: str
    path: Path
    tree: ast.Module
    lines: int

    @functools.cached_property
    def definitions(self) -> Mapping[str, ast.stmt]:
        """Return the names that the module binds at its top level, but for those that it imports."""
        return {name: node for node in self.tree.body for name in _bound(node)}

    def functions(self) -> Iterator[tuple[str, Function]]:
        """Yield every function and method, by its name within the module."""
        yield from _functions(self.tree, "")


@functools.cache
def modules() -> Mapping[str, Module]:
    """Return all modules by name; generated ones are left out."""
    found = (path for folder in USERS for path in sorted((ROOT / folder).rglob("*.py")))
    read = (_module(path) for path in found if not path.name.endswith("_pb2.py"))
    return {one.name: one for one in read}


def ours() -> list[Module]:
    """Return the modules of the two packages."""
    return [one for name, one in modules().items() if name.partition(".")[0] in PACKAGES]


def _module(path: Path) -> Module:
    text = path.read_text(encoding="utf-8")
    parts = path.relative_to(ROOT).with_suffix("").parts
    name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
    return Module(name, path, ast.parse(text), len(text.splitlines()))


def _bound(node: ast.stmt) -> Iterator[str]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield node.name
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    for target in targets:
        yield from (one.id for one in ast.walk(target) if isinstance(one, ast.Name))


def _functions(node: ast.AST, before: str) -> Iterator[tuple[str, Function]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            yield f"{before}{child.name}", child
        name = f"{before}{child.name}." if isinstance(child, Function | ast.ClassDef) else before
        yield from _functions(child, name)


def body_lines(function: Function) -> int:
    """Count the lines of a function's body without its docstring."""
    first, *others = function.body
    is_docstring = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    if is_docstring and not others:
        return 0
    return (function.end_lineno or 0) - (others[0] if is_docstring else first).lineno + 1


def public_methods(node: ast.ClassDef) -> list[str]:
    """Return the names of a class's public methods and properties."""
    return [one.name for one in node.body if isinstance(one, Function) and not one.name.startswith("_")]


@functools.cache
def uses() -> Mapping[str, Mapping[str, set[str]]]:
    """Return which names of a module, and the module itself as `""`, are used by which other modules.

    A module is also used where its name stands in a text, as `module` or `module:name`: some are imported by name.
    """
    found: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for user in modules().values():
        for module, name in _uses_of(user):
            if module != user.name:
                found[module][name].add(user.name)
    return found


def _uses_of(user: Module) -> Iterator[tuple[str, str]]:
    aliases: dict[str, str] = {}
    for node in ast.walk(user.tree):
        if isinstance(node, ast.ImportFrom) and node.module is not None:
            for one in node.names:
                whole = f"{node.module}.{one.name}"
                if whole in modules():
                    aliases[one.asname or one.name] = whole
                    yield whole, ""
                else:
                    yield node.module, ""
                    yield node.module, one.name
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            named, _, name = node.value.partition(":")
            if named in modules():
                yield named, ""
                yield named, name
    for node in ast.walk(user.tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in aliases:
            yield aliases[node.value.id], node.attr
