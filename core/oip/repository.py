"""The model repository extension: the index of models, and what `load` and `unload` change and wait for (Triton)."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from core.admin.model_changes import Change, KnownModels, Models, load_model, unload_model
from core.errors import Aborted, Internal, InvalidArgument, NotFound, PermissionDenied, Unimplemented
from core.json.skeleton import require_shallow
from core.protos import oip_pb2
from core.routing.server_state import failed_loads, why_missing
from core.routing.table import ModelRoutes, RoutingTable
from core.telemetry.redaction import without_secrets
from core.versions.lifecycle import State, VersionStatus

FLAG: Final = "--enable_model_repository_api"
UNLOADED: Final = "unloaded"
"""Triton's reason for a version that was unloaded."""


class IndexState(enum.Enum):
    """The states of a version, in the words of the extension."""

    READY = "READY"
    LOADING = "LOADING"
    UNLOADING = "UNLOADING"
    UNAVAILABLE = "UNAVAILABLE"


_STATES: Final[Mapping[State, IndexState]] = {
    State.START: IndexState.LOADING,
    State.LOADING: IndexState.LOADING,
    State.AVAILABLE: IndexState.READY,
    State.UNLOADING: IndexState.UNLOADING,
    State.END: IndexState.UNAVAILABLE,
}


@dataclass(frozen=True, slots=True)
class IndexEntry:
    """A version of a model; without a version, a model that has none; without a state too, one that is unloaded.

    `reason` says why it is not READY, where there is more to say than its state.
    """

    name: str
    version: str = ""
    state: IndexState | None = None
    reason: str = ""

    @property
    def texts(self) -> Mapping[str, str]:
        """The members of the answer, in the order of the protocol; those that are empty are left out."""
        state = "" if self.state is None else self.state.value
        members = {"name": self.name, "version": self.version, "state": state, "reason": self.reason}
        return {key: text.encode("utf-8", "replace").decode() for key, text in members.items() if text}


@dataclass(frozen=True, slots=True)
class RepositoryRequest:
    """A load or an unload of a model; `is_kserve` says that its client puts the name into the first field."""

    name: str
    is_kserve: bool = False


def repository_index(table: RoutingTable, files: Iterable[str], *, only_ready: bool = False) -> tuple[IndexEntry, ...]:
    """Return an entry for each version, by name and version; `files` names the models of the configuration files."""
    entries = [entry for name, model in sorted(table.models.items()) for entry in _of_model(name, model)]
    listed = {entry.name for entry in entries}
    entries += [IndexEntry(name) for name in set(files) - listed]
    chosen = (one for one in entries if not only_ready or one.state is IndexState.READY)
    return tuple(sorted(chosen, key=lambda one: one.name))


def _of_model(name: str, model: ModelRoutes) -> Iterator[IndexEntry]:
    failures = failed_loads(model)
    for status in sorted(model.statuses, key=lambda one: one.version):
        yield _of_version(name, status, failures.get(status.version, ""))
    if model.configured and not model.statuses:
        yield IndexEntry(name, "", IndexState.UNAVAILABLE, without_secrets(why_missing(model)))


def _of_version(name: str, status: VersionStatus, failure: str) -> IndexEntry:
    state = _STATES[status.state]
    if state is IndexState.LOADING and failure:
        state = IndexState.UNAVAILABLE
    gone = UNLOADED if state is IndexState.UNAVAILABLE else ""
    return IndexEntry(name, str(status.version), state, without_secrets(failure or status.message or gone))


def index_message(entries: Iterable[IndexEntry]) -> bytes:
    """Return an index as a RepositoryIndexResponse."""
    models = [oip_pb2.RepositoryIndexResponse.ModelIndex(**one.texts) for one in entries]
    return oip_pb2.RepositoryIndexResponse(models=models).SerializeToString()


def read_index_body(body: bytes) -> bool:
    """Read the body of an index request: whether only READY versions are wanted; raises InvalidArgument."""
    ready = _members(body).get("ready", False)
    if not isinstance(ready, bool):
        raise InvalidArgument(f"'ready' must be true or false, found {orjson.dumps(ready).decode()}")
    return ready


def check_load_body(body: bytes) -> None:
    """Check the body of a load or an unload; raises InvalidArgument for one that asks for what this server lacks."""
    parameters = _members(body).get("parameters", {})
    if not isinstance(parameters, dict):
        raise InvalidArgument("'parameters' must be an object")
    check_load_parameters(parameters)


def check_load_parameters(names: Iterable[str]) -> None:
    """Refuse parameters that would change what is loaded; others, such as `unload_dependents`, have no effect."""
    for name in names:
        if name == "config" or name.startswith("file:"):
            raise InvalidArgument(f"the parameter '{name}' is not supported: models are loaded as they are configured")


def read_repository_request(repository: str, model: str) -> RepositoryRequest:
    """Read the two fields of which one names the model: the second one, or the first one as KServe's clients do.

    Raises InvalidArgument, and Unimplemented for a request of a repository (Triton).
    """
    if model:
        expect_one_repository(repository)
    if not (model or repository):
        raise InvalidArgument("the request names no model")
    return RepositoryRequest(model or repository, is_kserve=not model)


def expect_one_repository(named: str) -> None:
    """Raise Unimplemented for a load or an unload in a repository that is named (Triton)."""
    if named:
        raise Unimplemented("'repository_name' specification is not supported")


def expect_enabled(*, is_enabled: bool) -> None:
    """Raise PermissionDenied where models must not be loaded and unloaded over this protocol."""
    if not is_enabled:
        raise PermissionDenied(f"Loading and unloading of models is switched off; {FLAG} switches it on.")


def load_configured(name: str) -> Change:
    """Return the change of `load`: a model of the configuration files is served; it raises NotFound for another one."""

    def change(known: KnownModels) -> Models:
        if known.find(name) is None and name not in {one.name for one in known.files}:
            raise NotFound(f"failed to load '{name}': no configuration file has a model of that name")
        return load_model(name)(known)

    return change


def unload_configured(name: str) -> Change:
    """Return the change of `unload`: the model is served no longer; it raises NotFound for an unknown one.

    A model that is unloaded already stays so.
    """

    def change(known: KnownModels) -> Models:
        if known.find(name) is not None:
            return unload_model(name)(known)
        if name in {one.name for one in known.files}:
            return known.models
        raise NotFound(f"failed to unload '{name}': there is no model of that name")

    return change


def is_loaded(table: RoutingTable, name: str, generation: int) -> bool:
    """Whether a model answers whose load is in force from a generation on; 0 if it was in force before.

    Raises Internal with the error of its load, and Aborted if the model was removed again.
    """
    model = table.models.get(name)
    if table.generation < generation or model is None or not model.configured:
        if generation and table.generation >= generation:
            raise Aborted(f"failed to load '{name}': the list of models was changed once more")
        return False
    if any(model.histories[one].aspired for one in model.available if one in model.histories):
        return True
    if failed_loads(model) or model.problem:
        raise Internal(f"failed to load '{name}': {without_secrets(why_missing(model))}")
    return False


def _members(body: bytes) -> Mapping[str, Any]:
    """Read a body that is empty or a JSON object; raises InvalidArgument."""
    if not body.strip():
        return {}
    require_shallow(body)
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidArgument(f"failed to parse the request JSON buffer: {error}") from None
    if not isinstance(document, dict):
        raise InvalidArgument("the request body must be a JSON object")
    return document
