"""Which definitions of `core/` the program reaches from its entry points; tests are not among them.

A name in a reached definition reaches the definition that it stands for, in its own module or in the one it is imported
from, and so on. A method is reached when its class is and some reached code mentions its name: as an attribute, or as a
text, because Serve and the doors call some methods by name. So what only tests use, directly or through other functions
that only tests use, is left over.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from tests.support.source_tree import PACKAGES, Function, Module

Place = tuple[str, str]
"""A module, and the name of a definition within it; a method has a dot in it, the module itself is the empty name."""


@dataclass(frozen=True)
class Mentions:
    """What a piece of code mentions: definitions and modules, and names of attributes."""

    places: frozenset[Place] = frozenset()
    words: frozenset[str] = frozenset()


@dataclass(eq=False)
class Graph:
    """The definitions of all modules with what they mention, and the methods by name."""

    mentions: dict[Place, Mentions] = field(default_factory=dict)
    methods: dict[str, set[Place]] = field(default_factory=lambda: defaultdict(set))


def unreached_definitions(tree: Mapping[str, Module], entries: Iterable[str]) -> set[str]:
    """Return the functions, classes, constants and methods of core that no entry module leads to."""
    graph = _graph(tree)
    reached = _reached(graph, frozenset(entries))
    return {".".join(place) for place in graph.mentions.keys() - reached if place[0].startswith("core") and place[1]}


def _reached(graph: Graph, entries: frozenset[str]) -> set[Place]:
    """Follow mentions from the entry modules, and from the packages that only use ours."""
    waiting = [place for place in graph.mentions if place[0] in entries or place[0].partition(".")[0] not in PACKAGES]
    reached: set[Place] = set()
    words: set[str] = set()
    while waiting:
        place = waiting.pop()
        if place in reached or place not in graph.mentions:
            continue
        reached.add(place)
        mentions = graph.mentions[place]
        fresh = mentions.words - words
        words |= fresh
        waiting += [(place[0], ""), *mentions.places]
        waiting += [method for word in fresh for method in graph.methods.get(word, ()) if _owner(method) in reached]
        waiting += [method for word in words for method in graph.methods.get(word, ()) if _owner(method) == place]
    return reached


def _owner(method: Place) -> Place:
    return method[0], method[1].partition(".")[0]


def _graph(tree: Mapping[str, Module]) -> Graph:
    graph = Graph()
    for module in tree.values():
        names = _imported(module, tree)
        for name, node in module.definitions.items():
            _add(graph, module, name, node, names)
        rest = [node for node in module.tree.body if not _is_definition(module, node)]
        graph.mentions[module.name, ""] = _mentions(module, rest, names)
    return graph


def _is_definition(module: Module, node: ast.stmt) -> bool:
    return any(node is one for one in module.definitions.values())


def _add(graph: Graph, module: Module, name: str, node: ast.stmt, names: Mapping[str, Place]) -> None:
    """Add a definition; methods of a class in core stand for themselves, but for those that Python calls."""
    methods = [one for one in node.body if _is_own_method(one)] if isinstance(node, ast.ClassDef) else []
    if not module.name.startswith("core"):
        methods = []
    rest = [one for one in ast.iter_child_nodes(node) if one not in methods]
    graph.mentions[module.name, name] = _mentions(module, rest, names)
    for method in methods:
        place = (module.name, f"{name}.{method.name}")
        graph.mentions[place] = _mentions(module, [method], names)
        graph.methods[method.name].add(place)


def _is_own_method(node: ast.stmt) -> bool:
    return isinstance(node, Function) and not (node.name.startswith("__") and node.name.endswith("__"))


def _imported(module: Module, tree: Mapping[str, Module]) -> Mapping[str, Place]:
    """Return what each name that a module imports stands for; a whole module is its empty name."""
    found: dict[str, Place] = {}
    for node in ast.walk(module.tree):
        if isinstance(node, ast.ImportFrom) and node.module is not None:
            for one in node.names:
                whole = f"{node.module}.{one.name}"
                found[one.asname or one.name] = (whole, "") if whole in tree else (node.module, one.name)
    return found


def _mentions(module: Module, nodes: Sequence[ast.AST], names: Mapping[str, Place]) -> Mentions:
    inner = [node for outer in nodes for node in ast.walk(outer)]
    places = frozenset(place for node in inner for place in _places(module, node, names))
    texts = (one.value for one in inner if isinstance(one, ast.Constant) and isinstance(one.value, str))
    return Mentions(places, frozenset((*texts, *(one.attr for one in inner if isinstance(one, ast.Attribute)))))


def _places(module: Module, node: ast.AST, names: Mapping[str, Place]) -> Iterator[Place]:
    """Yield the definitions and modules that one node may stand for; those that do not exist do no harm."""
    if isinstance(node, ast.Name):
        yield names.get(node.id, (module.name, node.id))
    elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        yield names.get(node.value.id, (module.name, ""))[0], node.attr
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        named, _, name = node.value.partition(
            ":"
        )  # `package.module` is imported and run, `package.module:name` is used
        yield from ((named, ""), (named, name or "main"))
    elif isinstance(node, ast.ImportFrom):
        yield node.module or "", ""
        yield from (names[one.asname or one.name] for one in node.names if not names[one.asname or one.name][1])
