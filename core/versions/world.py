"""The inputs and outputs of a tick as plain values: what the watcher sees, and the actions that it may take."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field

from core.config.model_config import ModelConfig
from core.delivery.plan import RolloutPlan
from core.delivery.rollout_record import NO_RECORD, RolloutRecord
from core.rollouts.holding import Holding
from core.storage.version_listing import UNKNOWN, Judged, VersionDirectory
from core.versions.history import Moment, VersionHistory
from core.versions.record import Failure, VersionRecord
from core.versions.servable import ServableId


class Condition(enum.Enum):
    """The condition of an application, as Serve reports it."""

    ABSENT = "absent"
    DEPLOYING = "deploying"
    RUNNING = "running"
    FAILED = "failed"
    DELETING = "deleting"


@dataclass(frozen=True, slots=True)
class AppObservation:
    """One application as Serve reports it.

    `message` is Serve's text for a failure, `replicas` counts those that run, `deployed_s` is when it was submitted
    (wall clock; 0 where Serve does not say). `host` is the host application in which the version is a child process;
    empty for a version with an application of its own.
    """

    condition: Condition
    message: str = ""
    replicas: int = 0
    deployed_s: float = 0.0
    host: str = ""


ABSENT = AppObservation(Condition.ABSENT)


@dataclass(frozen=True, slots=True)
class Delivered:
    """What rollouts ask for one model: which versions they hold, and what routers are to know.

    `plan` is what the running rollout follows, or the next will. `signature_changes` says how the signatures of the
    version that takes over differ from those of the one before.
    """

    holding: Holding = Holding()  # noqa: RUF009 - frozen
    record: RolloutRecord = NO_RECORD
    plan: RolloutPlan | None = None
    signature_changes: tuple[str, ...] = ()


UNDIVIDED = Delivered()


@dataclass(frozen=True, slots=True)
class LoadLimits:
    """The limits of loading (flags `max_num_load_retries`, `load_retry_interval_micros`, `num_load_threads`)."""

    max_retries: int = 5
    retry_interval_s: float = 60.0
    max_concurrent: int = 2


@dataclass(frozen=True, slots=True)
class World:
    """The input of a tick.

    `storage` says what is known of each model's storage. `apps` holds the applications of Serve by version, `strays`
    those of unknown models by name. `failing` has the versions in which every run fails. `remembered` is what the table
    in force says of versions. `now_s` is of a steady clock, `wall_s` the same moment of the wall clock. `delivered` has
    the models with a rollout, or with shares of traffic.
    """

    now_s: float
    models: tuple[ModelConfig, ...]
    storage: Mapping[str, Judged] = field(default_factory=dict)
    apps: Mapping[ServableId, AppObservation] = field(default_factory=dict)
    strays: Mapping[str, AppObservation] = field(default_factory=dict)
    remembered: Mapping[ServableId, VersionHistory] = field(default_factory=dict)
    wall_s: float = 0.0
    failing: Mapping[ServableId, Failure] = field(default_factory=dict)
    delivered: Mapping[str, Delivered] = field(default_factory=dict)

    @property
    def moment(self) -> Moment:
        """The time of the look, on both clocks."""
        return Moment(self.now_s, self.wall_s)

    def storage_of(self, model: str) -> Judged:
        """Return what is known of a model's storage."""
        return self.storage.get(model, UNKNOWN)

    def delivered_of(self, model: str) -> Delivered:
        """Return what rollouts ask for a model."""
        return self.delivered.get(model, UNDIVIDED)

    def directory_of(self, servable: ServableId) -> VersionDirectory | None:
        """Return where a version lies; None when storage does not show it, or is not known."""
        listing = self.storage_of(servable.name).listing
        return listing.versions.get(servable.version) if listing is not None else None


Records = Mapping[ServableId, VersionRecord]


@dataclass(frozen=True, slots=True)
class Load:
    """Submit the application of a version."""

    servable: ServableId
    path: str


@dataclass(frozen=True, slots=True)
class Unload:
    """Take a version out of the table; its application is deleted once no router calls it."""

    servable: ServableId
