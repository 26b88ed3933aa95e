"""What one tick of the watcher sees, and the actions that it may take: plain values without decisions."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field

from core.config.model_config import ModelConfig
from core.storage.version_listing import VersionListing
from core.versions.history import Moment, VersionHistory
from core.versions.record import VersionRecord
from core.versions.servable import ServableId


class Condition(enum.Enum):
    """What Serve says of one application."""

    ABSENT = "absent"
    DEPLOYING = "deploying"
    RUNNING = "running"
    FAILED = "failed"
    DELETING = "deleting"


@dataclass(frozen=True, slots=True)
class AppObservation:
    """One application as Serve shows it.

    `message` is Serve's text for a failure, `replicas` counts those that run, `deployed_s` is when it was submitted
    (wall clock; 0 where Serve does not say).
    """

    condition: Condition
    message: str = ""
    replicas: int = 0
    deployed_s: float = 0.0


ABSENT = AppObservation(Condition.ABSENT)


@dataclass(frozen=True, slots=True)
class LoadLimits:
    """How hard loading is tried (flags `max_num_load_retries`, `load_retry_interval_micros`, `num_load_threads`)."""

    max_retries: int = 5
    retry_interval_s: float = 60.0
    max_concurrent: int = 2


@dataclass(frozen=True, slots=True)
class World:
    """What one tick sees.

    `listings` holds the last good listing of each model, `waiting` the versions of it that are not completely written
    yet with the reason, `unsure` the models of which a second look is needed to tell, `apps` the version applications
    of Serve by name, `remembered` what the table in force tells of versions. `now_s` is of a steady clock, `wall_s` the
    same moment of the wall clock.
    """

    now_s: float
    models: tuple[ModelConfig, ...]
    listings: Mapping[str, VersionListing] = field(default_factory=dict)
    waiting: Mapping[str, Mapping[int, str]] = field(default_factory=dict)
    unsure: frozenset[str] = frozenset()
    apps: Mapping[str, AppObservation] = field(default_factory=dict)
    remembered: Mapping[ServableId, VersionHistory] = field(default_factory=dict)
    wall_s: float = 0.0

    @property
    def moment(self) -> Moment:
        """The time of the look, on both clocks."""
        return Moment(self.now_s, self.wall_s)


Records = Mapping[ServableId, VersionRecord]


@dataclass(frozen=True, slots=True)
class Load:
    """Submit the application of a version."""

    servable: ServableId
    path: str


@dataclass(frozen=True, slots=True)
class Unload:
    """Take a version out of the table; its application is deleted when nobody calls it any more."""

    servable: ServableId
