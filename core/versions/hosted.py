"""Hosted versions: which may be children of a version host, on which node, and how the hosts show them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from core.config.model_config import ModelResources, Placement
from core.errors import ConfigError, Problem
from core.storage.version_listing import is_remote
from core.versions.world import AppObservation, Condition

HOST_DEPLOYMENT = "VersionHost"
"""The name of the only deployment in a host's application."""

_PREFIX = "host@"
"""Begins the name of no version's application: there, an @ is encoded."""

FIRST_PAUSE_S = 60.0
LONGEST_PAUSE_S = 1800.0
"""For so long a node whose host failed is left out: twice as long each time, up to the longest."""

LASTING = frozenset({Condition.RUNNING, Condition.FAILED})
"""The conditions of hosted versions that stay as they are until something happens."""


def host_app(node: str) -> str:
    """Return the name of the host application of a node, given the node's id in Ray."""
    return f"{_PREFIX}{node}"


def node_of_host(app: str) -> str:
    """Return the node of a host application; empty for any other application."""
    return app.removeprefix(_PREFIX) if app.startswith(_PREFIX) else ""


def is_hosted(resources: ModelResources, path: str, *, hosts_light: bool, is_light: Callable[[str], bool]) -> bool:
    """Whether a version becomes a child of a host: its model says so, or it is light and asks for nothing of its own.

    `hosts_light` is the flag. Of remote storage nothing is known before its files are on a node, so only a model that
    says so is hosted from there. Raises ConfigError for a model that also asks for what no child can have.
    """
    needs = resources.of_an_own_deployment
    if resources.placement is Placement.HOSTED:
        if needs:
            raise ConfigError((Problem(f"a hosted version cannot have {', '.join(needs)}"),))
        return True
    is_free = resources.placement is None and not needs
    return hosts_light and is_free and not is_remote(path) and is_light(path)


UNDECIDED = ""
"""The node of a version that is placed once it is known that no host has it."""


@dataclass(frozen=True, slots=True)
class Placed:
    """Where a version was placed; `refusal` says why its host does not load it, as a failed load says it."""

    node: str
    refusal: str = ""


Answers = Mapping[str, Mapping[str, AppObservation] | None]
"""What the host of each node said last of its versions; None before it has answered."""


class FailedNodes:
    """How often the host of each node failed since it last answered, and until when its node is left out."""

    def __init__(self) -> None:
        self._pauses: dict[str, float] = {}
        self._until_s: dict[str, float] = {}

    def failed(self, node: str, now_s: float) -> None:
        """Leave a node out, twice as long as the last time."""
        pause_s = min(2 * self._pauses.get(node, FIRST_PAUSE_S / 2), LONGEST_PAUSE_S)
        self._pauses[node] = pause_s
        self._until_s[node] = now_s + pause_s

    def works(self, node: str) -> None:
        """Forget the failures of a node whose host answers."""
        self._pauses.pop(node, None)
        self._until_s.pop(node, None)

    def left_out(self, now_s: float) -> frozenset[str]:
        """Return the nodes whose pause lasts."""
        return frozenset(node for node, until_s in self._until_s.items() if now_s < until_s)


def usable_nodes(cpus: Mapping[str, float], left_out: frozenset[str]) -> frozenset[str]:
    """Return the nodes where a version may be hosted, of those that are alive, with the CPUs that Ray has of each.

    A node without any is one that Ray keeps free of work, as a cluster's head often is. Nodes whose host failed are
    left out while another is there.
    """
    nodes = frozenset(node for node, count in cpus.items() if count > 0) or frozenset(cpus)
    return nodes - left_out or nodes


def node_with(app: str, answers: Answers) -> str:
    """Return the node whose host has a version already; empty if none has it."""
    return next((node for node in sorted(answers) if app in (answers[node] or ())), "")


def node_for(usable: Collection[str], answers: Answers, placed: Mapping[str, Placed]) -> str:
    """Return the node for one more hosted version: one with the fewest, of these one with a host, else the first."""
    return min(usable, key=lambda node: (len(_versions_on(node, answers, placed)), node not in answers, node))


def _versions_on(node: str, answers: Answers, placed: Mapping[str, Placed]) -> frozenset[str]:
    seen = frozenset(answers.get(node) or ())
    return seen | {app for app, place in placed.items() if place.node == node}


def to_be_loaded(answers: Answers, placed: Mapping[str, Placed]) -> Iterator[str]:
    """Yield the versions that their host answered without: not loaded yet, or lost with the host's predecessor."""
    for app, place in placed.items():
        versions = answers.get(place.node)
        if versions is not None and app not in versions and not place.refusal:
            yield app


def to_be_unloaded(answers: Answers, placed: Mapping[str, Placed], own: Collection[str]) -> Iterator[tuple[str, str]]:
    """Yield node and version of each copy too many: one that runs elsewhere, or that has an application of its own."""
    shown = observed_versions(answers, placed)
    for node, versions in answers.items():
        for app, one in (versions or {}).items():
            is_shown = app not in own and shown[app].host == host_app(node)
            if not is_shown and one.condition is not Condition.DELETING:
                yield node, app


def observed_versions(
    answers: Answers, placed: Mapping[str, Placed], assumed: Mapping[str, str] = MappingProxyType({})
) -> dict[str, AppObservation]:
    """Return the hosted versions as applications, each with its host.

    One that is placed and not there is being deployed, however often its host is replaced, so that calls wait for it.
    So is one of `assumed`: by version, the node whose host has it for all that is known.
    """
    shown: dict[str, AppObservation] = {}
    for node in sorted(answers):
        for app, one in (answers[node] or {}).items():
            if app not in shown or (app in placed and placed[app].node == node):
                shown[app] = replace(one, host=host_app(node))
    for app, place in placed.items():
        is_elsewhere = place.node == UNDECIDED and app in shown
        if app not in (answers.get(place.node) or {}) and not is_elsewhere:
            condition = Condition.FAILED if place.refusal else Condition.DEPLOYING
            shown[app] = AppObservation(condition, place.refusal, host=host_app(place.node))
    for app, node in assumed.items():
        shown.setdefault(app, AppObservation(Condition.DEPLOYING, host=host_app(node)))
    return shown
