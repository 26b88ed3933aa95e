"""Requests for profiles: validation, the version to record, and the order to its replica."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from core.errors import FailedPrecondition, InvalidArgument, NotFound, ServableNotFound
from core.routing.table import Route, RoutingTable

SHORTEST_S, LONGEST_S = 0.1, 60.0


@dataclass(frozen=True, slots=True)
class ProfileRequest:
    """A request to record one replica of a version; without a version and a label, of the newest that answers."""

    model: str
    seconds: float
    version: int | None = None
    label: str | None = None

    def checked(self) -> ProfileRequest:
        """Return the request if it is valid; raises InvalidArgument."""
        if not self.model:
            raise InvalidArgument("model is missing.")
        if self.version is not None and self.label is not None:
            raise InvalidArgument("A version and a label cannot both be given.")
        if not SHORTEST_S <= self.seconds <= LONGEST_S:
            raise InvalidArgument(
                f"seconds is {self.seconds:g}; a profile takes from {SHORTEST_S:g} to {LONGEST_S:g} seconds."
            )
        return self


class ProfileForm(enum.Enum):
    """The file that a recording becomes."""

    PERFETTO = "perfetto"
    TENSORBOARD = "tensorboard"


@dataclass(frozen=True, slots=True)
class RecordingOrder:
    """Tells a replica to record itself; `key` names the recording, so that it can be ended before its time."""

    seconds: float
    form: ProfileForm = ProfileForm.PERFETTO
    key: str = ""


def profiled_route(table: RoutingTable, request: ProfileRequest) -> Route:
    """Return the route of the version to record; raises NotFound, FailedPrecondition, LabelNotFound."""
    try:
        return table.resolve(request.model, request.version, request.label)
    except ServableNotFound:
        raise _why_not(table, request) from None


def _why_not(table: RoutingTable, request: ProfileRequest) -> NotFound | FailedPrecondition:
    model = table.models.get(request.model)
    if model is None:
        return NotFound(f"There is no model {request.model}.")
    number = request.version if request.label is None else model.version_of(request.label)
    states = {one.version: one.state.name for one in model.statuses}
    if number is None:
        return FailedPrecondition(f"No version of {request.model} is AVAILABLE.")
    if number in states:
        return FailedPrecondition(f"Version {number} of {request.model} is in state {states[number]}, not AVAILABLE.")
    return NotFound(f"{request.model} has no version {number}.")
