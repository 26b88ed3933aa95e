"""The state of the server in three words, with the reasons: every place that shows it asks `server_state`.

Ready: requests should be sent here. Ready with problems: they should, and something that is configured does not work.
Not ready: they should not.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from core.errors import Code
from core.routing.table import ModelRoutes, RoutingTable
from core.storage.version_listing import NOT_LISTED
from core.telemetry.log_lines import iso_time
from core.versions.history import VersionHistory
from core.versions.lifecycle import State, VersionStatus
from core.versions.record import GIVEN_UP

STOPPING = "the server is stopping"


class Readiness(enum.Enum):
    """Whether requests should be sent here; the values are the words that people read."""

    READY = "ready"
    WITH_PROBLEMS = "ready with problems"
    NOT_READY = "not ready"


@dataclass(frozen=True, slots=True)
class ServerState:
    """The state, and a sentence for each thing that is missing or wrong; a server that is READY has none."""

    readiness: Readiness
    reasons: tuple[str, ...] = ()

    @property
    def is_ready(self) -> bool:
        """Whether requests should be sent here."""
        return self.readiness is not Readiness.NOT_READY


def server_state(table: RoutingTable, *, is_draining: bool = False) -> ServerState:
    """Return the state that follows from the table that a router uses.

    Ready means: the first list of models has its results, every version that it declares by a label or by its number
    has answered or failed once, at least one configured model answers (or none is configured), and the server is not
    stopping. One broken model is a problem, and does not take the others out of service.
    """
    wanted = [model for model in table.models.values() if model.configured]
    is_answering = any(model.is_available for model in wanted) or not wanted
    reasons = tuple(_reasons(table, is_draining=is_draining))
    if is_draining or not table.settled or table.awaited or not is_answering:
        return ServerState(Readiness.NOT_READY, reasons)
    return ServerState(Readiness.WITH_PROBLEMS if reasons else Readiness.READY, reasons)


def unready_versions(table: RoutingTable) -> Iterator[str]:
    """Yield a sentence for each model and version that is wanted and does not answer.

    Source of the rule: Triton, strict readiness: one version that is not ready is one too many. Those that are unloaded
    on purpose do not count.
    """
    for name, model in sorted(table.models.items()):
        if not model.configured:
            continue
        if not model.is_available:
            yield f"{name} does not answer: {why_missing(model)}"
            continue
        failed = failed_loads(model)
        yield from (f"{name} {_unready(one, failed)}" for one in model.statuses if _is_unready(one, failed))
        yield from (f"{name} {reason}" for reason in failing_versions(model))


def _is_unready(status: VersionStatus, failed: Mapping[int, str]) -> bool:
    if status.version in failed or status.state in {State.START, State.LOADING}:
        return True
    return status.state is State.END and status.code is not Code.OK


def _unready(status: VersionStatus, failed: Mapping[int, str]) -> str:
    what = status.message or f"is in state {status.state.name}"
    return failed.get(status.version, f"version {status.version} {what}")


def _reasons(table: RoutingTable, *, is_draining: bool) -> Iterator[str]:
    if is_draining:
        yield STOPPING
    if not table.generation and not table.models:
        yield "no routing table has come yet"
    for servable in sorted(table.awaited):
        if servable.name in table.models and table.models[servable.name].is_available:
            yield f"{servable.name} version {servable.version} has neither answered nor failed yet"
    for name, model in sorted(table.models.items()):
        if model.configured:
            yield from (f"{name} {reason}" for reason in _of_model(model))
    yield from (f"the configuration is refused: {one}" for one in table.in_force.problems)


def _of_model(model: ModelRoutes) -> Iterator[str]:
    if not model.is_available:
        yield f"does not answer: {why_missing(model)}"
        return
    yield from failed_loads(model).values()
    yield from failing_versions(model)
    if model.problem:
        yield f"cannot be listed: {model.problem}" if model.problem.startswith(NOT_LISTED) else model.problem
    yield from _broken_labels(model)


def _broken_labels(model: ModelRoutes) -> Iterator[str]:
    """Yield the labels by which requests fail, and those that wait for a version that does not come."""
    for label, version in sorted(model.pending_labels.items()):
        status = next((one for one in model.statuses if one.version == version), None)
        is_coming = status is not None and status.state in {State.START, State.LOADING}
        held = model.version_of(label)
        if held not in model.routes:
            yield f"label {label} names version {version}, which does not answer"
        elif held != version and (not is_coming or version in failed_loads(model)):
            yield f"label {label} waits for version {version}, and names version {held} until it answers"


def why_missing(model: ModelRoutes) -> str:
    """Return why a model does not answer; of several versions, the newest counts."""
    if model.problem:
        return model.problem
    failures = failed_loads(model)
    if failures:
        return failures[max(failures)]
    if not model.statuses:
        return "; ".join(f"version {number} {why}" for number, why in model.waiting.items()) or "no version was found"
    newest = model.statuses[0]
    return newest.message or f"version {newest.version} is in state {newest.state.name}"


def failing_versions(model: ModelRoutes) -> Iterator[str]:
    """Yield a sentence for each version that is loaded and answers with errors only."""
    yield from (f"version {number}: {one.message}" for number, one in sorted(model.failing.items()))


def failed_loads(model: ModelRoutes) -> Mapping[int, str]:
    """Return a sentence for each version that is wanted and whose last load failed, with the time of the next one."""
    return {one.version: text for one in model.statuses if (text := _failed_load(one, model.histories))}


def _failed_load(status: VersionStatus, histories: Mapping[int, VersionHistory]) -> str:
    history = histories.get(status.version)
    if history is None or history.failure is None or not history.aspired or history.failure == GIVEN_UP:
        return ""
    text = f"version {status.version} could not be loaded: {history.failure.code.name}: {history.failure.message}"
    if history.state is State.LOADING:
        return f"{text}; attempt {history.failed_attempts + 1} runs"
    again = "not tried again until its files change"
    if history.retry_at_s is not None:
        again = f"next attempt at {iso_time(history.retry_at_s)}"
    return f"{text} (attempt {history.failed_attempts}; {again})"
