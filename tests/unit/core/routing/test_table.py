"""Tests of how a table resolves requests, and of what it says about versions."""

from __future__ import annotations

import pickle

import pytest

from core.delivery.split import WHOLE, Division, MirrorOrder
from core.errors import Code, InvalidArgument, LabelNotFound, ServableNotFound, StatusNotFound
from core.routing.table import ModelRoutes, Route, RoutingTable
from core.versions.lifecycle import State, VersionStatus
from core.versions.servable import ServableId


def routes(name: str, *versions: int) -> dict[int, Route]:
    """Make routes for versions."""
    return {version: Route.of(ServableId(name, version)) for version in versions}


AVAILABLE = tuple(VersionStatus(version, State.AVAILABLE) for version in (124, 123, 0))
TABLE = RoutingTable(
    3,
    {
        "m": ModelRoutes(routes("m", 123, 124, 0), {"stable": 123, "pending": 200, "": 124}, AVAILABLE),
        "loading": ModelRoutes(statuses=(VersionStatus(1, State.LOADING),)),
        "never_seen": ModelRoutes(),
    },
)


@pytest.mark.parametrize(
    ("version", "label", "expected"),
    [
        pytest.param(None, None, 124, id="case_J17"),
        pytest.param(123, None, 123, id="case_J18"),
        pytest.param(0, None, 0, id="zero_is_a_version"),
        pytest.param(None, "stable", 123, id="label"),
        pytest.param(None, "", 124, id="the_empty_label_is_a_label"),
    ],
)
def test_a_request_is_resolved(version, label, expected) -> None:
    """By number, by label, or to the newest version that answers."""
    assert TABLE.resolve("m", version, label) == Route(ServableId("m", expected), f"m:{expected}")


@pytest.mark.parametrize(
    ("name", "version", "label", "kind", "text"),
    [
        ("", None, None, InvalidArgument, "ModelSpec has no name specified."),
        ("", 1, None, InvalidArgument, "ModelSpec has no name specified."),
        ("", None, "stable", InvalidArgument, "ModelSpec has no name specified."),
        ("nope", None, None, ServableNotFound, "Servable not found for request: Latest(nope)"),
        ("nope", 1, None, ServableNotFound, "Servable not found for request: Specific(nope, 1)"),
        ("nope", None, "stable", LabelNotFound, "Unrecognized servable version label: stable"),
        ("m", 7, None, ServableNotFound, "Servable not found for request: Specific(m, 7)"),
        ("m", None, "pending", ServableNotFound, "Servable not found for request: Specific(m, 200)"),
        pytest.param(
            "m",
            None,
            "nonexistent label",
            LabelNotFound,
            "Unrecognized servable version label: nonexistent label",
            id="case_J20",
        ),
        ("loading", None, None, ServableNotFound, "Servable not found for request: Latest(loading)"),
        ("loading", 1, None, ServableNotFound, "Servable not found for request: Specific(loading, 1)"),
    ],
)
def test_what_cannot_be_resolved_says_why(name, version, label, kind, text) -> None:
    """The errors are TensorFlow Serving's."""
    with pytest.raises(kind) as caught:
        TABLE.resolve(name, version, label)

    assert str(caught.value) == text


def test_case_E8_all_versions_are_listed_newest_first() -> None:
    """A status request without a version gets every version ever seen."""
    assert TABLE.statuses("m") == AVAILABLE
    assert all((one.code, one.message) == (Code.OK, "") for one in TABLE.statuses("m"))


def test_case_E9_one_version_is_listed_alone() -> None:
    """A status request with a version gets that one."""
    assert TABLE.statuses("m", 123) == (VersionStatus(123, State.AVAILABLE),)


@pytest.mark.parametrize(
    ("name", "version", "text"),
    [
        pytest.param("nope", None, "Could not find any versions of model nope", id="case_E6"),
        ("never_seen", None, "Could not find any versions of model never_seen"),
        ("", None, "Could not find any versions of model "),
        ("m", 5, "Could not find version 5 of model m"),
    ],
)
def test_a_status_of_nothing_is_not_found(name, version, text) -> None:
    """A model of which no version was seen has no status."""
    with pytest.raises(StatusNotFound) as caught:
        TABLE.statuses(name, version)

    assert str(caught.value) == text


def test_a_table_names_the_applications_it_leads_to() -> None:
    """Labels that are pending and versions that load lead nowhere."""
    assert TABLE.apps == {"m:123", "m:124", "m:0"}


def test_equal_tables_compare_equal_after_travelling() -> None:
    """A table is published again only if something changed; it travels by pickle."""
    there = pickle.loads(pickle.dumps(TABLE))

    assert there == TABLE
    assert there.resolve("m") == TABLE.resolve("m")


@pytest.mark.parametrize(
    "division",
    [
        Division(((123, WHOLE),)),
        Division(((123, 9_000), (124, 1_000))),
        Division(((123, WHOLE),), mirror=MirrorOrder(124, WHOLE)),
    ],
)
def test_a_division_says_which_version_is_stable(division: Division) -> None:
    """It answers what is not divided: metadata, and all requests although a higher number answers."""
    model = ModelRoutes(routes("m", 123, 124), {}, AVAILABLE, division=division)

    assert RoutingTable(1, {"m": model}).resolve("m").servable.version == 123
    assert model.is_ready


def test_a_stable_version_that_is_gone_is_replaced_by_the_newest() -> None:
    """No request fails while a version answers."""
    model = ModelRoutes(routes("m", 124), division=Division(((123, 9_000), (124, 1_000))))

    assert RoutingTable(1, {"m": model}).resolve("m").servable.version == 124


@pytest.mark.parametrize(
    ("weights", "version"),
    [(((123, 9_000), (124, 1_000)), 123), (((7, 9_000), (124, 1_000)), 124), (((7, WHOLE),), 7)],
)
def test_a_divided_label_names_the_first_of_its_versions_that_answers(weights, version) -> None:
    """Whether it was declared or not; others stay exact."""
    division = Division(((123, WHOLE),), labels={"live": weights})
    model = ModelRoutes(routes("m", 123, 124), {"live": 200, "canary": 124}, division=division)

    assert model.version_of("live") == version
    assert model.version_of("canary") == 124


def test_an_arm_is_no_part_of_a_route() -> None:
    """Tables and tests compare routes by where they lead to."""
    route = Route.of(ServableId("m", 1))

    assert route.counted_by(object()) == route
