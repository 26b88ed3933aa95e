"""What may be profiled."""

from __future__ import annotations

import pytest

from core.admin.messages import profile_answer, profile_request, read_profile_answer, read_profile_request
from core.errors import FailedPrecondition, InvalidArgument, LabelNotFound, NotFound
from core.profiling.profile_request import ProfileRequest, profiled_route
from core.routing.table import ModelRoutes, Route, RoutingTable
from core.versions.lifecycle import State, VersionStatus
from core.versions.servable import ServableId

TABLE = RoutingTable(
    1,
    {
        "m": ModelRoutes(
            {1: Route.of(ServableId("m", 1)), 2: Route.of(ServableId("m", 2))},
            labels={"old": 1, "next": 3},
            statuses=(VersionStatus(3, State.LOADING), VersionStatus(2, State.AVAILABLE)),
        ),
        "new": ModelRoutes(statuses=(VersionStatus(1, State.LOADING),)),
    },
)


@pytest.mark.parametrize(
    ("request_", "version"),
    [
        (ProfileRequest("m", 1.0), 2),
        (ProfileRequest("m", 1.0, version=1), 1),
        (ProfileRequest("m", 1.0, label="old"), 1),
    ],
)
def test_a_version_is_found_as_for_a_request(request_: ProfileRequest, version: int) -> None:
    """By number, by label, or the newest that answers."""
    assert profiled_route(TABLE, request_).servable.version == version


@pytest.mark.parametrize(
    ("request_", "error", "text"),
    [
        (ProfileRequest("x", 1.0), NotFound, "There is no model x."),
        (ProfileRequest("m", 1.0, version=9), NotFound, "m has no version 9."),
        (ProfileRequest("m", 1.0, version=3), FailedPrecondition, "Version 3 of m is in state LOADING, not AVAILABLE."),
        (ProfileRequest("m", 1.0, label="next"), FailedPrecondition, "Version 3 of m is in state LOADING"),
        (ProfileRequest("new", 1.0), FailedPrecondition, "No version of new is AVAILABLE."),
        (ProfileRequest("m", 1.0, label="none"), LabelNotFound, "none"),
    ],
)
def test_what_cannot_be_profiled_is_reported_with_the_reason(request_: ProfileRequest, error: type, text: str) -> None:
    """A version that is not there is something else than one that does not answer yet."""
    with pytest.raises(error, match=text):
        profiled_route(TABLE, request_)


@pytest.mark.parametrize(
    "request_", [ProfileRequest("m", 0.1), ProfileRequest("m", 60.0, 3), ProfileRequest("m", 5.0, label="a")]
)
def test_a_request_travels(request_: ProfileRequest) -> None:
    """Whatever it names."""
    assert read_profile_request(profile_request(request_)) == request_


@pytest.mark.parametrize(
    "raw",
    [
        b"\xff",
        profile_request(ProfileRequest("", 1.0)),
        profile_request(ProfileRequest("m", 0.0)),
        profile_request(ProfileRequest("m", -1.0)),
        profile_request(ProfileRequest("m", 60.5)),
        profile_request(ProfileRequest("m", float("nan"))),
        profile_request(ProfileRequest("m", float("inf"))),
        profile_request(ProfileRequest("m", 1.0, 3, "a")),
    ],
)
def test_a_request_that_makes_no_sense_is_refused(raw: bytes) -> None:
    """Before anything is recorded."""
    with pytest.raises(InvalidArgument):
        read_profile_request(raw)


def test_an_answer_travels() -> None:
    """The file, and which version it is of."""
    assert read_profile_answer(profile_answer(b"{}", 7)) == (b"{}", 7)
