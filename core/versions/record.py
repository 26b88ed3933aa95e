"""The watcher's record of one version, and the transitions between its states.

The public states are TensorFlow Serving's (`core.versions.lifecycle.State`). A transition is a row of `TRANSITIONS`;
anything else is a defect and raises `IllegalTransition`.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from core.errors import Code, Internal
from core.versions.lifecycle import State, VersionStatus
from core.versions.servable import ServableId


class Event(enum.Enum):
    """What can happen to a version."""

    DEPLOYED = "its Serve application was submitted"
    BECAME_READY = "its application runs"
    WILL_RETRY = "loading failed, another attempt is due"
    FAILED = "loading failed for good"
    CANCELLED = "it is no longer aspired and was not yet available"
    WITHDRAWN = "it is no longer aspired and leaves the routing table"
    LOST = "its application disappeared without our doing"
    GONE = "its application has ended"
    ASPIRED_AGAIN = "it is aspired once more after it had ended"


TRANSITIONS: Mapping[tuple[State, Event], State] = MappingProxyType(
    {
        (State.START, Event.DEPLOYED): State.LOADING,
        (State.START, Event.CANCELLED): State.END,
        (State.LOADING, Event.BECAME_READY): State.AVAILABLE,
        (State.LOADING, Event.WILL_RETRY): State.START,
        (State.LOADING, Event.LOST): State.START,
        (State.LOADING, Event.FAILED): State.END,
        (State.LOADING, Event.CANCELLED): State.END,
        (State.AVAILABLE, Event.WITHDRAWN): State.UNLOADING,
        (State.AVAILABLE, Event.LOST): State.START,
        (State.UNLOADING, Event.GONE): State.END,
        (State.END, Event.ASPIRED_AGAIN): State.START,
    }
)


class IllegalTransition(Internal):
    """An event that cannot happen in this state."""

    def __init__(self, state: State, event: Event) -> None:
        Exception.__init__(self, state, event)

    def __str__(self) -> str:
        state, event = self.args
        return f"a version in state {state.name} cannot take the event {event.name}"


def step(state: State, event: Event) -> State:
    """Return the state after an event."""
    try:
        return TRANSITIONS[state, event]
    except KeyError:
        raise IllegalTransition(state, event) from None


FULL = ("The disk of ", "The model cache has no room ")
"""How the errors of a full disk and of a full cache begin."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a version could not be loaded; a permanent reason stays for as long as the files do."""

    code: Code
    message: str
    is_permanent: bool = False

    @property
    def is_about_space(self) -> bool:
        """Whether a disk or the model cache was full: attempts go on, because somebody will make room."""
        return self.code is Code.RESOURCE_EXHAUSTED and self.message.startswith(FULL)


GIVEN_UP = Failure(Code.CANCELLED, "Loading of servable cancelled")
"""Why a version ended that was no longer aspired before it was available; it is loaded when it is aspired again."""


@dataclass(frozen=True, slots=True)
class VersionRecord:
    """One version as the watcher sees it.

    `failed_attempts` counts loads that failed in a row; `retry_at_s` is the time before which no further load starts;
    `fingerprint` is the state of the directory that was loaded last; `since_s` is when the present state began;
    `load_s` is how long it took from the submission of the application until it ran. Times are of the steady clock.
    """

    servable: ServableId
    path: str
    state: State = State.START
    aspired: bool = True
    failed_attempts: int = 0
    retry_at_s: float = 0.0
    failure: Failure | None = None
    fingerprint: str = ""
    since_s: float = 0.0
    load_s: float | None = None

    def after(self, event: Event, now_s: float) -> VersionRecord:
        """Return the record after an event at `now_s`."""
        return replace(self, state=step(self.state, event), since_s=now_s)

    def status(self) -> VersionStatus:
        """Return the public status: LOADING while a load is retried; a version that has ended shows its error."""
        if self.state is State.START and self.failed_attempts:
            return VersionStatus(self.servable.version, State.LOADING, Code.OK, "")
        if self.state is State.END and self.failure is not None:
            return VersionStatus(self.servable.version, State.END, self.failure.code, self.failure.message)
        return VersionStatus(self.servable.version, self.state, Code.OK, "")
