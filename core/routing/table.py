"""Routing tables: which versions answer, under which names. Immutable; published whole, never edited."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

from core.config.model_config import LoggingConfig, Rollout
from core.config.version_policy import Specific, VersionPolicy
from core.delivery.plan import RolloutPlan
from core.delivery.rollout_record import NO_RECORD, RolloutRecord
from core.delivery.split import Division
from core.errors import (
    Code,
    InvalidArgument,
    LabelNotFound,
    NotFound,
    Problem,
    ServableNotFound,
    StatusNotFound,
    Unavailable,
)
from core.routing.admission import TrafficLimits
from core.versions.history import VersionHistory
from core.versions.lifecycle import State, VersionStatus
from core.versions.servable import ServableId, app_name

NO_LIMITS = TrafficLimits()


class Arm(Protocol):
    """Counts how one divided request ends, for the version that it was given to; each request calls one end, once."""

    @property
    def is_copied(self) -> bool:
        """Whether copies of such requests may be wanted, once they are answered."""
        ...

    def answered(self, code: Code, took_s: float) -> None:
        """Count the answer, or the error that stands for it, and the seconds since the request came."""

    def gave_up(self, took_s: float) -> None:
        """Count a request whose caller has gone, after so many seconds."""

    def lost(self) -> Arm:
        """Count a try whose connection ended, and that is repeated; return what counts the repetition."""
        ...

    def take_back(self) -> None:
        """Count nothing: the request is sent in another way, and its version chosen anew. In the same turn only."""


@dataclass(frozen=True, slots=True)
class Route:
    """A version, and the name of the Serve application that answers for it.

    `host` is the host application of which a hosted version is a child process; empty where `app` is its own one.
    `arm` counts a request that was divided; None for all others, and in tables.
    """

    servable: ServableId
    app: str
    host: str = ""
    arm: Arm | None = field(default=None, compare=False, repr=False)

    @classmethod
    def of(cls, servable: ServableId, host: str = "") -> Route:
        """Return the route of a version."""
        return cls(servable, app_name(servable), host)

    def counted_by(self, arm: Arm) -> Route:
        """Return this route for requests that an arm counts."""
        return replace(self, arm=arm)


@dataclass(frozen=True, slots=True)
class ModelRoutes:
    """One model: its versions, its labels, and why others are missing.

    `routes` holds the versions that answer, `labels` every declared label, also those whose version does not answer
    yet (pending). `held` has the version that a pending label still names meanwhile, if it named one before.
    `statuses` is newest first, and shows a version as AVAILABLE only while every router has a route to it; `histories`
    has more of the same versions. `problem` says why storage has nothing to load, if so; `ignored` has directories that
    are not versions and `waiting` versions that are not completely written, each with the reason. `base_path`,
    `policy`, `rollout`, `logging` and `limits` are as configured. `division` says how requests without version and
    label are divided; None leaves them to the newest version. `delivery` is what is known of the model's rollouts, and
    `plan` what the running one follows, or the next will; `signature_changes` says how the canary's signatures differ.
    `latest` is the route of requests without version and label that are not divided: the stable version of a division,
    otherwise the newest.
    """

    routes: Mapping[int, Route] = field(default_factory=dict)
    labels: Mapping[str, int] = field(default_factory=dict)
    statuses: tuple[VersionStatus, ...] = ()
    configured: bool = True
    problem: str = ""
    ignored: Mapping[str, str] = field(default_factory=dict)
    waiting: Mapping[int, str] = field(default_factory=dict)
    held: Mapping[str, int] = field(default_factory=dict)
    histories: Mapping[int, VersionHistory] = field(default_factory=dict)
    base_path: str = ""
    policy: VersionPolicy | None = None
    rollout: Rollout = Rollout.AVAILABILITY_PRESERVING
    logging: tuple[LoggingConfig, ...] = ()
    limits: TrafficLimits = NO_LIMITS
    division: Division | None = None
    delivery: RolloutRecord = NO_RECORD
    plan: RolloutPlan | None = None
    signature_changes: tuple[str, ...] = ()
    latest: Route | None = field(init=False)

    def __post_init__(self) -> None:
        newest = self.routes[max(self.routes)] if self.routes else None
        stable = None if self.division is None else self.routes.get(self.division.stable)
        object.__setattr__(self, "latest", stable or newest)

    def version_of(self, label: str) -> int | None:
        """Return the version that a label names now; None for a label that is not declared.

        A label whose requests are divided names the first of its versions that answers.
        """
        if self.division is not None and label in self.division.labels:
            weights = self.division.labels[label]
            return next((version for version, _ in weights if version in self.routes), weights[0][0])
        return self.held.get(label, self.labels.get(label))

    @property
    def failing(self) -> Mapping[int, VersionStatus]:
        """The versions in which every run fails, with the error."""
        return {one.version: one for one in self.statuses if one.state is State.AVAILABLE and one.code is not Code.OK}

    @property
    def is_failing(self) -> bool:
        """Whether requests that name no version get errors only."""
        return self.latest is not None and self.latest.servable.version in self.failing

    @property
    def named(self) -> frozenset[int]:
        """The versions that a label or the policy names."""
        by_policy = self.policy.versions if isinstance(self.policy, Specific) else ()
        return frozenset((*self.labels.values(), *by_policy))

    @property
    def awaited(self) -> frozenset[int]:
        """The versions that have neither answered nor failed once, of those named and the newest that is wanted.

        Requests are sent to these; a version that `latest` or `all` only finds is not waited for.
        """
        wanted = {version: one for version, one in self.histories.items() if one.aspired}
        asked_for = self.named & wanted.keys() | {max(wanted, default=-1)} & wanted.keys()
        available = self.available
        return frozenset(one for one in asked_for if one not in available and wanted[one].failure is None)

    @property
    def pending_labels(self) -> Mapping[str, int]:
        """The labels whose version does not answer at every router, with that version."""
        available = self.available
        return {label: version for label, version in self.labels.items() if version not in available}

    @property
    def available(self) -> frozenset[int]:
        """The versions that answer whichever router is asked."""
        return frozenset(one.version for one in self.statuses if one.state is State.AVAILABLE)

    @property
    def is_available(self) -> bool:
        """Whether a version answers whichever router is asked."""
        return bool(self.available)

    @property
    def is_ready(self) -> bool:
        """Whether requests that name no version are answered whichever router they reach."""
        return self.latest is not None and self.latest.servable.version in self.available


@dataclass(frozen=True, slots=True)
class ListInForce:
    """The list of models that a table was made from, so that it outlives the watcher.

    `text` is the list itself; `is_requested` says that it came by a request and not from flags and files, whose content
    `files_fingerprint` identifies. `problems` are the mistakes for which a newer content of the files was refused.
    `spoken` names the files that have said something: one that becomes blank is refused.
    """

    text: str = ""
    is_requested: bool = False
    files_fingerprint: str = ""
    problems: tuple[Problem, ...] = ()
    spoken: frozenset[str] = frozenset()


NO_TABLE = "This router has no routing table yet; try again."

NOTHING_IN_FORCE = ListInForce()
"""Before a first list could be read."""


@dataclass(frozen=True, slots=True)
class RoutingTable:
    """A snapshot of everything a router needs; a higher generation replaces a lower one.

    `in_force` is the list of models from which it was made. `settled` turns true when every configured model has a
    result: a version, an error, or nothing to load. `awaited` has the versions of the first list that a label or the
    policy names, until each has answered or failed once. `started_s` is when the first table was made, in seconds since
    the epoch. `watcher` names its maker: another watcher may give the same generation to another table. `routers` is
    how many routers share the limits of models.
    """

    generation: int
    models: Mapping[str, ModelRoutes] = field(default_factory=dict)
    settled: bool = False
    in_force: ListInForce = NOTHING_IN_FORCE
    started_s: float = 0.0
    watcher: str = ""
    awaited: frozenset[ServableId] = frozenset()
    routers: int = 1

    def resolve(self, name: str, version: int | None = None, label: str | None = None) -> Route:
        """Return the route of the version that answers a model spec (TensorFlow Serving, resolution of a model spec).

        Raises InvalidArgument for an empty name, LabelNotFound, ServableNotFound, and Unavailable before a first table.
        """
        model = self.models.get(name)
        if version is None and label is None:
            if model is not None and model.latest is not None:
                return model.latest
            if not name:
                raise InvalidArgument("ModelSpec has no name specified.")
            raise self._missing(ServableNotFound(name, None))
        if not name:
            raise InvalidArgument("ModelSpec has no name specified.")
        if version is None:
            version = self._labelled(model, label or "")
        route = model.routes.get(version) if model is not None else None
        if route is None:
            raise self._missing(ServableNotFound(name, version))
        return route

    @property
    def _is_none_yet(self) -> bool:
        return not (self.generation or self.models)

    def _missing(self, error: NotFound) -> NotFound | Unavailable:
        """Return the error for what is not here; the table of a router that has none yet knows of nothing."""
        return Unavailable(NO_TABLE) if self._is_none_yet else error

    def statuses(self, name: str, version: int | None = None) -> tuple[VersionStatus, ...]:
        """Return the status of one version, or of all versions newest first (TensorFlow Serving, GetModelStatus).

        Raises StatusNotFound, and Unavailable before a first table.
        """
        model = self.models.get(name)
        known = model.statuses if model is not None else ()
        wanted = tuple(one for one in known if version is None or one.version == version)
        if not wanted:
            raise self._missing(StatusNotFound(name, version))
        return wanted

    def _labelled(self, model: ModelRoutes | None, label: str) -> int:
        version = model.version_of(label) if model is not None else None
        if version is None:
            raise Unavailable(f"Model labels does not init yet.{label}") if self._is_none_yet else LabelNotFound(label)
        return version

    @property
    def logging(self) -> Mapping[str, tuple[LoggingConfig, ...]]:
        """The request logs of each application, so that running versions follow a changed configuration."""
        return {route.app: model.logging for model in self.models.values() for route in model.routes.values()}

    @property
    def apps(self) -> frozenset[str]:
        """Names of all Serve applications that this table leads to."""
        return frozenset(route.app for model in self.models.values() for route in model.routes.values())

    @property
    def hosts(self) -> Mapping[str, str]:
        """The host application of each hosted version, by the version's application name."""
        routes = (route for model in self.models.values() for route in model.routes.values())
        return {route.app: route.host for route in routes if route.host}

    @property
    def histories(self) -> Mapping[ServableId, VersionHistory]:
        """The history of every version."""
        return {
            ServableId(name, version): history
            for name, model in self.models.items()
            for version, history in model.histories.items()
        }
