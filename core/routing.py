"""Routing tables: which versions answer, under which names. Immutable; published whole, never edited."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from core.errors import InvalidArgument, LabelNotFound, ServableNotFound, StatusNotFound
from core.lifecycle import VersionStatus
from core.servable import ServableId, app_name


@dataclass(frozen=True, slots=True)
class Route:
    """Where a version answers: the name of its Serve application."""

    servable: ServableId
    app: str

    @classmethod
    def of(cls, servable: ServableId) -> Route:
        """Give the route of a version."""
        return cls(servable, app_name(servable))


@dataclass(frozen=True, slots=True)
class ModelRoutes:
    """All that is known of one model.

    `routes` holds the versions that answer, `labels` every declared label, also those whose version does not answer
    yet (pending). `statuses` is newest first. `problem` says why storage gives nothing to load, if so; `ignored` names
    directories that are no versions and `waiting` versions that are not completely written, each with the reason.
    """

    routes: Mapping[int, Route] = field(default_factory=dict)
    labels: Mapping[str, int] = field(default_factory=dict)
    statuses: tuple[VersionStatus, ...] = ()
    configured: bool = True
    problem: str = ""
    ignored: Mapping[str, str] = field(default_factory=dict)
    waiting: Mapping[int, str] = field(default_factory=dict)
    latest: Route | None = field(init=False)

    def __post_init__(self) -> None:
        newest = self.routes[max(self.routes)] if self.routes else None
        object.__setattr__(self, "latest", newest)


@dataclass(frozen=True, slots=True)
class RoutingTable:
    """A snapshot of everything a router needs; a higher generation replaces a lower one.

    `config_text` is the list of models that a reload request brought, so that it outlives the watcher; empty while the
    configuration comes from flags and files alone. `settled` turns true when every configured model has an answer to
    show: a version, an error, or nothing to load.
    """

    generation: int
    models: Mapping[str, ModelRoutes] = field(default_factory=dict)
    settled: bool = False
    config_text: str = ""

    def resolve(self, name: str, version: int | None = None, label: str | None = None) -> Route:
        """Find the version that answers a model spec (TensorFlow Serving, resolution of a model spec).

        Raises InvalidArgument for an empty name, LabelNotFound, ServableNotFound.
        """
        model = self.models.get(name)
        if version is None and label is None:
            if model is not None and model.latest is not None:
                return model.latest
            if not name:
                raise InvalidArgument("ModelSpec has no name specified.")
            raise ServableNotFound(name, None)
        if not name:
            raise InvalidArgument("ModelSpec has no name specified.")
        if version is None:
            version = self._labelled(model, label or "")
        route = model.routes.get(version) if model is not None else None
        if route is None:
            raise ServableNotFound(name, version)
        return route

    def statuses(self, name: str, version: int | None = None) -> tuple[VersionStatus, ...]:
        """Give the status of one version, or of all versions newest first (TensorFlow Serving, GetModelStatus).

        Raises StatusNotFound.
        """
        model = self.models.get(name)
        known = model.statuses if model is not None else ()
        wanted = tuple(one for one in known if version is None or one.version == version)
        if not wanted:
            raise StatusNotFound(name, version)
        return wanted

    @staticmethod
    def _labelled(model: ModelRoutes | None, label: str) -> int:
        if model is None or label not in model.labels:
            raise LabelNotFound(label)
        return model.labels[label]

    @property
    def apps(self) -> frozenset[str]:
        """Names of all Serve applications that this table leads to."""
        return frozenset(route.app for model in self.models.values() for route in model.routes.values())
