"""The limits that the source keeps: sizes, names with one meaning, and nothing that only tests use."""

from __future__ import annotations

import ast
import collections
from collections.abc import Iterable

from tests.support.liveness import unreached_definitions
from tests.support.project import ROOT
from tests.support.source_tree import Function, Module, body_lines, modules, ours, public_methods, uses

LONGEST_MODULE = 350
LONGEST_BODY = 40
MOST_METHODS = 12
MOST_MODULES = 15

CALLBACKS = {
    "deployments.routing.direct_connection.DirectConnection": {
        *("connection_made", "get_buffer", "buffer_updated", "connection_lost"),  # asyncio's BufferedProtocol
        *("pause_writing", "resume_writing"),
    },
}
"""Methods that a library calls: their number is not ours to choose."""

SAME_FUNCTION_NAME = {
    "main": "the entry point of the console script, of each subcommand and of `python -m`, called by module",
    "plan_predict": "the planner of the same method in both protocols, in the table of `core.methods` by module",
    "plan_classify": "as plan_predict",
    "plan_regress": "as plan_predict",
}
"""Names of public functions that several modules have, each with its reason."""

# What follows is left from before these limits were tested. It becomes empty, and may not grow.
MANY_METHODS = {"core.json.exact_parser._Parser"}

NOT_IMPORTED = {
    "deployments.client": "programs that were written before the client was a package of its own import it",
    "deployments.cli": "the console script names it in pyproject.toml",
    "deployments.platforms.contract": "the tests of those who write platforms import it",
    "deployments.launch.serve_run": "`make serve` runs it with `python -m`",
}


def repeated(names: Iterable[str]) -> set[str]:
    """Return the names that come more than once."""
    return {name for name, count in collections.Counter(names).items() if count > 1}


def top_level(kind: type[ast.ClassDef | Function]) -> list[str]:
    """Return the names of public classes or functions of all modules, once for each module that defines them."""
    return [
        name
        for one in ours()
        for name, node in one.definitions.items()
        if isinstance(node, kind) and not name.startswith("_")
    ]


def test_a_module_can_be_read_in_one_sitting() -> None:
    """A longer one holds two things and is cut between them."""
    assert {one.name: one.lines for one in ours() if one.lines > LONGEST_MODULE} == {}


def test_a_function_fits_on_a_screen() -> None:
    """A longer body hides steps that have names."""
    long = {f"{one.name}.{name}" for one in ours() for name, node in one.functions() if body_lines(node) > LONGEST_BODY}

    assert long == set()


def test_a_class_has_few_public_methods() -> None:
    """What a library calls does not count."""
    classes = {
        f"{one.name}.{node.name}": node for one in ours() for node in one.tree.body if isinstance(node, ast.ClassDef)
    }
    wide = {
        name
        for name, node in classes.items()
        if len(set(public_methods(node)) - CALLBACKS.get(name, set())) > MOST_METHODS
    }

    assert wide == MANY_METHODS
    assert [name for name, methods in CALLBACKS.items() if not methods <= set(public_methods(classes[name]))] == []


def test_a_room_has_few_modules() -> None:
    """A longer list is not read; a room that outgrows it becomes two."""
    rooms = collections.Counter(one.path.parent for one in ours() if one.path.name != "__init__.py")

    assert {room.name: count for room, count in rooms.items() if count > MOST_MODULES} == {}


def test_a_class_name_has_one_meaning() -> None:
    """A reader who has met a name knows it everywhere."""
    assert repeated(top_level(ast.ClassDef)) == set()


def test_a_function_name_has_one_meaning_or_a_reason() -> None:
    """As for classes; modules with the same part in different protocols are called by module."""
    assert repeated(top_level(Function)) == SAME_FUNCTION_NAME.keys()


def test_every_module_is_imported() -> None:
    """A module that only tests import does nothing for anybody."""
    unused = {one.name for one in ours() if one.path.name != "__init__.py" and not uses()[one.name][""]}

    assert unused == NOT_IMPORTED.keys()
    assert NOT_IMPORTED.keys() <= modules().keys()


def test_every_definition_of_core_is_used() -> None:
    """The program must lead to it, also to each method; tests, and functions that only tests call, keep nothing alive."""
    assert unreached_definitions(modules(), NOT_IMPORTED) == set()


DEAD = """
class Rule:
    def used(self): ...
    def forgotten(self): self.also_forgotten()
    def also_forgotten(self): ...

def asked(): return Rule().used()
def check(): return _part()
def _part(): return Rule().used()
"""


def test_what_only_dead_code_uses_is_dead() -> None:
    """Otherwise one test would keep a whole chain of functions alive."""
    texts = {"core.rule": DEAD, "deployments.cli": "from core import rule\nrule.asked()"}
    tree = {name: Module(name, ROOT, ast.parse(text), 1) for name, text in texts.items()}

    assert unreached_definitions(tree, ["deployments.cli"]) == {
        "core.rule.Rule.forgotten",
        "core.rule.Rule.also_forgotten",
        "core.rule.check",
        "core.rule._part",
    }
