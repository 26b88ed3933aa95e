"""Describes a rollout for the terminal: one sentence per difference between two routing tables."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from core.routing.server_state import failed_loads, server_state
from core.routing.table import ModelRoutes, RoutingTable
from core.versions.lifecycle import State, VersionStatus

NOTHING: Final = RoutingTable(generation=0)

_WORDS: Final[Mapping[State, str]] = MappingProxyType(
    {
        State.START: "waits to be loaded",
        State.LOADING: "is loading",
        State.AVAILABLE: "is available",
        State.UNLOADING: "is unloading",
        State.END: "is unloaded",
    }
)


def rollout_messages(before: RoutingTable, now: RoutingTable) -> list[str]:
    """Return a sentence for each difference, model by model."""
    earlier = _sentences(before)
    lines = [line for key, line in _sentences(now).items() if earlier.get(key) != line]
    gone = [f"{name} is no longer configured" for name in sorted(_configured(before) - _configured(now))]
    return lines + gone


def unfinished_versions(table: RoutingTable) -> list[str]:
    """Return the versions that are waiting or loading, but for those whose next attempt is not due yet."""
    moving = {State.START, State.LOADING}
    return [
        f"{name} version {one.version}"
        for name, model in sorted(table.models.items())
        for one in model.statuses
        if one.state in moving and not _waits_for_retry(model, one.version)
    ]


def _waits_for_retry(model: ModelRoutes, version: int) -> bool:
    history = model.histories.get(version)
    return history is not None and history.retry_at_s is not None


def state_message(table: RoutingTable) -> str:
    """Return the state of the server, how many models and versions answer, and how many problems there are."""
    state = server_state(table)
    problems = f" ({_count(len(state.reasons), 'problem')})" if state.reasons else ""
    return f"{state.readiness.value}: {summary(table)}{problems}"


def summary(table: RoutingTable) -> str:
    """Return how many models and versions answer, and how many models do not."""
    answering = [model for model in table.models.values() if model.is_available]
    versions = sum(len(model.available) for model in answering)
    missing = len(_configured(table)) - len(answering)
    answer = "answers" if len(answering) == 1 else "answer"
    counted = f" with {_count(versions, 'version')}" if versions else ""
    text = f"{_count(len(answering), 'model')}{counted} {answer}"
    return f"{text}, {missing} {'does' if missing == 1 else 'do'} not" if missing > 0 else text


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _configured(table: RoutingTable) -> set[str]:
    return {name for name, model in table.models.items() if model.configured}


def _sentences(table: RoutingTable) -> dict[tuple[str, str], str]:
    sentences: dict[tuple[str, str], str] = {}
    for name, model in sorted(table.models.items()):
        sentences.update({(name, key): line for key, line in _of_model(name, model).items()})
    return sentences | {("", str(one)): f"the configuration is refused: {one}" for one in table.in_force.problems}


def _of_model(name: str, model: ModelRoutes) -> dict[str, str]:
    failures = failed_loads(model)
    sentences = {f"version {one.version}": _of_version(name, one, failures) for one in reversed(model.statuses)}
    for version, why in model.waiting.items():
        sentences[f"waiting {version}"] = f"{name} version {version} {why}"
    for label in sorted(model.labels):
        named = model.version_of(label)
        if named in model.available:
            sentences[f"label {label}"] = f"{name} label {label} names version {named}"
    if model.problem:
        sentences["problem"] = f"{name}: {model.problem}"
    return sentences


def _of_version(name: str, status: VersionStatus, failures: Mapping[int, str]) -> str:
    if status.version in failures and status.state is not State.END:
        return f"{name} {failures[status.version]}"
    if status.state is State.END and status.message:
        return f"{name} version {status.version} FAILED: {status.message}"
    if status.state is State.AVAILABLE and status.message:
        return f"{name} version {status.version} is available, but {status.message}"
    return f"{name} version {status.version} {_WORDS[status.state]}"
