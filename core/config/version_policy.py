"""Version policies: which of the versions found should be served.

TensorFlow Serving's three, and those that packages register by the entry point `ray_model_server.version_policies`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import yaml

from core.config.extensions import Extensions
from core.errors import FailedPrecondition
from core.formats.yaml_reading import MISTAKE, Reader, YamlEntry, anything, choice, each, mapping, section, whole

HIGHEST_INT32 = 2**31 - 1


class VersionPolicy(Protocol):
    """Chooses among versions; the watcher asks it several times a second, so it answers at once and does no I/O."""

    def select(self, found: frozenset[int]) -> frozenset[int]:
        """Return the aspired versions among those found; equal sets give equal answers.

        The choice of one that breaks this rule is followed within ten seconds (`core.versions.standstill.LONGEST_S`).
        """


class PolicyFailed(FailedPrecondition):
    """A registered policy raised an error, or chose what is not there."""


@dataclass(frozen=True, slots=True)
class Latest:
    """Serve the highest `count` version numbers; a count of 0 counts as 1 (TensorFlow Serving, version policy)."""

    count: int = 1

    def select(self, found: frozenset[int]) -> frozenset[int]:
        """Return the aspired versions among those found."""
        return frozenset(sorted(found)[-max(self.count, 1) :])


@dataclass(frozen=True, slots=True)
class Unsaid(Latest):
    """The latest version, unless our YAML file says more.

    It stands for a registered policy in TensorFlow Serving's format, which cannot express one.
    """


@dataclass(frozen=True, slots=True)
class All:
    """Serve every version found."""

    def select(self, found: frozenset[int]) -> frozenset[int]:
        """Return the aspired versions among those found."""
        return found


@dataclass(frozen=True, slots=True)
class Specific:
    """Serve the listed versions as far as they exist; an empty list serves nothing."""

    versions: frozenset[int]

    def select(self, found: frozenset[int]) -> frozenset[int]:
        """Return the aspired versions among those found."""
        return found & self.versions


@dataclass(frozen=True, slots=True)
class RegisteredPolicy:
    """A policy of a package by its name, with its arguments as JSON.

    Equal names and arguments are equal policies. Only where the configuration is read it can select: what travels to
    routers and replicas is the name and the arguments, so that they need no code of the package.
    """

    name: str
    arguments: str = "{}"
    policy: VersionPolicy | None = field(default=None, compare=False, repr=False)

    def __reduce__(self) -> tuple[type[RegisteredPolicy], tuple[str, str]]:
        return RegisteredPolicy, (self.name, self.arguments)

    def select(self, found: frozenset[int]) -> frozenset[int]:
        """Return the aspired versions among those found; raises PolicyFailed for errors and for other versions."""
        if self.policy is None:
            raise PolicyFailed(f"version policy {self.name} is not loaded in this process")
        try:
            chosen = frozenset(self.policy.select(found))
            unknown = sorted(chosen - found)
        except Exception as error:
            raise PolicyFailed(f"version policy {self.name} failed: {type(error).__name__}: {error}") from error
        if unknown:
            listed = ", ".join(map(str, unknown))
            raise PolicyFailed(f"version policy {self.name} chose {listed}, which it was not offered")
        return frozenset(version for version in found if version in chosen)


def registered_policy(name: str, arguments: Mapping[str, Any], make: Callable[..., Any]) -> RegisteredPolicy:
    """Make a policy of its arguments; raises PolicyFailed when these, or what is made, do not fit."""
    try:
        policy = make(**arguments)
    except Exception as error:
        raise PolicyFailed(f"version policy {name} refuses its arguments: {type(error).__name__}: {error}") from error
    if not callable(getattr(policy, "select", None)):
        raise PolicyFailed(f"version policy {name} is a {type(policy).__name__} without a method select")
    return RegisteredPolicy(name, json.dumps(dict(arguments), sort_keys=True), policy)


def is_default(policy: VersionPolicy) -> bool:
    """Whether a list says no more of a model than that its latest version is served."""
    return isinstance(policy, Latest) and policy.count == 1


def version_policy_setting(known: Extensions, entry: YamlEntry) -> Any:
    """Read a version policy: one of TensorFlow Serving's, or the name of a registered one with its arguments."""
    name = _name_of_policy(entry)
    if name in known.version_policies:
        return _registered_policy(known, name, entry)
    why = known.why_not("version_policies", name)
    if why:
        return entry.mistake(f"is not a version policy: {name}: {why}")
    if isinstance(entry.node, yaml.ScalarNode):
        words = {"latest": Latest(), "all": All(), **dict.fromkeys(known.version_policies)}
        return choice(words)(entry)
    mistakes = len(entry.problems)
    given = section(_POLICIES)(entry)
    if len(given) != 1 and len(entry.problems) == mistakes:
        entry.mistake("must be one of `all`, `latest: <count>`, `specific: [<version>, ...]`")
    if "latest" in given:
        return Latest(max(given["latest"], 1))
    return Specific(frozenset(given["specific"])) if "specific" in given else All()


def _name_of_policy(entry: YamlEntry) -> str:
    """Return the one word that an entry is or begins with; empty when it has several."""
    names = [entry.node] if isinstance(entry.node, yaml.ScalarNode) else []
    if isinstance(entry.node, yaml.MappingNode) and len(entry.node.value) == 1:
        names = [entry.node.value[0][0]]
    return names[0].value if names and isinstance(names[0].value, str) else ""


def _registered_policy(known: Extensions, name: str, entry: YamlEntry) -> Any:
    arguments: Any = {}
    if isinstance(entry.node, yaml.MappingNode):
        entry = entry.at(name)
        arguments = mapping(anything)(entry)
    if arguments is MISTAKE:
        return MISTAKE
    try:
        return registered_policy(name, arguments, known.version_policies[name])
    except PolicyFailed as error:
        return entry.mistake(str(error))


_POLICIES: Mapping[str, Reader] = {
    "latest": whole(0, HIGHEST_INT32),
    "all": choice({"true": True}),
    "specific": each(whole(0)),
}
