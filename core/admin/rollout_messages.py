"""Describes a rollout for the terminal: one sentence per difference between two routing tables."""

from __future__ import annotations

import unicodedata
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


def loading_message(table: RoutingTable, columns: int) -> str:
    """Return how many versions are loaded, and the names of those that load or wait, as many as fit."""
    names = unfinished_versions(table)
    seen = [(model, one) for model in table.models.values() for one in model.statuses]
    loaded = sum(one.state is State.AVAILABLE for _, one in seen)
    failed = sum(_has_failed(model, one) for model, one in seen)
    counted = f"{loaded} of {loaded + failed + len(names)} loaded" + (f", {failed} failed" if failed else "")
    texts = [f"{counted}, loading {one}" for one in _listings(names, columns)]
    return next((one for one in reversed(texts) if displayed_columns(one) <= columns), shortened(counted, columns))


def unfinished_versions(table: RoutingTable) -> list[str]:
    """Return the versions that load, and those that wait for it; of those that failed, the ones that are tried now."""
    comes = [
        (one.state is State.START, f"{name}:{one.version}")
        for name, model in sorted(table.models.items())
        for one in model.statuses
        if one.state in {State.LOADING, State.START} and not _has_failed(model, one)
    ]
    return [name for _, name in sorted(comes, key=lambda one: one[0])]


def _has_failed(model: ModelRoutes, one: VersionStatus) -> bool:
    """Whether a version failed and is not tried just now."""
    history = model.histories.get(one.version)
    waits = history is not None and history.retry_at_s is not None
    return waits or (one.state is State.END and one.version in failed_loads(model))


def _listings(names: list[str], columns: int) -> list[str]:
    """Return the names from one to all of them, and how many more there are; none that is longer than it has to be."""
    listings: list[str] = []
    for count in range(1, len(names) + 1):
        if listings and len(listings[-1]) > columns:
            break
        left = len(names) - count
        listings.append(", ".join(names[:count]) + (f" and {left} more" if left else ""))
    return listings


def shortened(text: str, columns: int) -> str:
    """Return a text that a terminal shows in so many columns."""
    if displayed_columns(text) <= columns:
        return text
    while text and displayed_columns(text) >= columns:
        text = text[:-1]
    return f"{text}…" if columns > 0 else ""


def displayed_columns(text: str) -> int:
    """Return how many columns a text takes: characters of East Asia take two."""
    return sum(1 + (unicodedata.east_asian_width(one) in "WF") for one in text)


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
    """Return the sentences about a model in the order of a rollout: what takes over comes before what it replaces."""
    failures = failed_loads(model)
    told = {one: _of_version(name, one, failures) for one in reversed(model.statuses)}
    sentences = {f"version {one.version}": line for one, line in told.items() if not _goes(one)}
    for version, why in model.waiting.items():
        sentences[f"waiting {version}"] = f"{name} version {version} {why}"
    for label in sorted(model.labels):
        named = model.version_of(label)
        if named in model.available:
            sentences[f"label {label}"] = f"{name} label {label} names version {named}"
    sentences.update({f"version {one.version}": line for one, line in told.items() if _goes(one)})
    if model.problem:
        sentences["problem"] = f"{name}: {model.problem}"
    return sentences


def _goes(status: VersionStatus) -> bool:
    """Whether a version leaves because another one is wanted."""
    return status.state is State.UNLOADING or (status.state is State.END and not status.message)


def _of_version(name: str, status: VersionStatus, failures: Mapping[int, str]) -> str:
    if status.version in failures and status.state is not State.END:
        return f"{name} {failures[status.version]}"
    if status.state is State.END and status.message:
        return f"{name} version {status.version} FAILED: {status.message}"
    if status.state is State.AVAILABLE and status.message:
        return f"{name} version {status.version} is available, but {status.message}"
    return f"{name} version {status.version} {_WORDS[status.state]}"
