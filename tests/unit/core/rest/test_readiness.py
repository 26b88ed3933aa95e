"""Tests of the pages that say how the server is, made from the table alone."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from core.delivery.rollout_record import Rejection, RolloutRecord
from core.errors import Code
from core.rest.readiness import liveness_body, model_list_body, readiness_body
from core.routing.table import ModelRoutes, Route, RoutingTable
from core.versions.lifecycle import State, VersionStatus
from core.versions.servable import ServableId

AVAILABLE = VersionStatus(3, State.AVAILABLE)
FAILED = VersionStatus(4, State.END, Code.NOT_FOUND, "no SavedModel there")


def answering(**changes: object) -> ModelRoutes:
    """Make a model of which version 3 answers."""
    return ModelRoutes(**{"routes": {3: Route.of(ServableId("m", 3))}, "statuses": (AVAILABLE,), **changes})


def readiness(models, *, settled=True, draining=False):
    """Return what the page says for a table."""
    ready, body = readiness_body(RoutingTable(5, models, settled), draining=draining)
    said = json.loads(body)
    assert said["ready"] is ready
    return ready, said["missing"]


def test_liveness_is_a_json_object() -> None:
    """Whoever asks needs nothing but the answer."""
    assert json.loads(liveness_body()) == {"alive": True}


@pytest.mark.parametrize(
    ("models", "settled", "draining", "expected"),
    [
        ({"m": answering()}, True, False, True),
        ({"m": answering()}, False, False, False),
        ({"m": answering()}, True, True, False),
        ({}, True, False, True),
        ({"m": ModelRoutes()}, True, False, False),
        ({"m": answering(), "broken": ModelRoutes(statuses=(FAILED,))}, True, False, True),
        ({"removed": ModelRoutes(statuses=(FAILED,), configured=False)}, True, False, True),
        ({"m": ModelRoutes(), "removed": answering(configured=False)}, True, False, False),
    ],
)
def test_ready_means_settled_and_answering_and_staying(models, settled, draining, expected) -> None:
    """One broken model does not take the others out of service; removed models do not count."""
    assert readiness(models, settled=settled, draining=draining)[0] is expected


@pytest.mark.parametrize(
    ("model", "why"),
    [
        (ModelRoutes(problem="Could not find base path /m"), "Could not find base path /m"),
        (ModelRoutes(), "no version was found"),
        (ModelRoutes(waiting={4: "waits for saved_model.pb"}), "version 4 waits for saved_model.pb"),
        (ModelRoutes(statuses=(VersionStatus(4, State.LOADING),)), "version 4 is in state LOADING"),
        (ModelRoutes(statuses=(FAILED,)), "no SavedModel there"),
        (
            answering(labels={"stable": 3, "canary": 4, "beta": 5}),
            "labels whose version is not available: beta, canary",
        ),
    ],
)
def test_what_is_missing_says_why(model, why) -> None:
    """The operator needs no second look."""
    assert readiness({"m": model})[1] == {"m": why}


FAILING = VersionStatus(3, State.AVAILABLE, Code.INTERNAL, "every run failed so far: INTERNAL: device lost")


def test_a_model_that_answers_with_errors_only_is_missing_and_says_why() -> None:
    """Others are not taken out of service for it, and an older version that fails hurts nobody by default."""
    failing = answering(statuses=(FAILING,))
    newer = replace(failing, routes={4: Route.of(ServableId("m", 4)), **failing.routes})

    ready, missing = readiness({"m": failing, "n": answering()})

    assert (ready, missing) == (True, {"m": f"version 3: {FAILING.message}"})
    assert readiness({"m": newer})[1] == {}


def test_a_version_that_fails_is_listed_with_its_error() -> None:
    """It is AVAILABLE, as it is for TensorFlow Serving's clients."""
    listed = json.loads(model_list_body(RoutingTable(1, {"m": answering(statuses=(FAILING,))})))

    assert listed["models"][0]["versions"] == [
        {"version": "3", "state": "AVAILABLE", "labels": [], "error": {"code": "INTERNAL", "message": FAILING.message}}
    ]


def test_nothing_is_missing_of_a_model_that_answers() -> None:
    """A label that points at an available version is not pending; a removed model is not missed."""
    models = {"m": answering(labels={"stable": 3}), "removed": ModelRoutes(configured=False)}

    assert readiness(models)[1] == {}


def test_the_list_shows_every_model_with_everything_known() -> None:
    """Versions with their labels and errors, labels with their versions, and what storage says."""
    model = ModelRoutes(
        {3: Route.of(ServableId("m", 3))},
        {"stable": 3, "canary": 4},
        (FAILED, AVAILABLE),
        problem="storage is slow",
        ignored={"tmp": "not a whole number"},
        waiting={5: "waits for saved_model.pb"},
    )

    listed = json.loads(model_list_body(RoutingTable(1, {"z": ModelRoutes(), "m": model})))

    assert listed == {
        "models": [
            {
                "name": "m",
                "versions": [
                    {
                        "version": "4",
                        "state": "END",
                        "labels": ["canary"],
                        "error": {"code": "NOT_FOUND", "message": "no SavedModel there"},
                    },
                    {"version": "3", "state": "AVAILABLE", "labels": ["stable"]},
                ],
                "labels": {
                    "stable": {"version": "3", "pending": False},
                    "canary": {"version": "4", "pending": True},
                },
                "problem": "storage is slow",
                "waiting": {"5": "waits for saved_model.pb"},
                "ignored": {"tmp": "not a whole number"},
            },
            {"name": "z", "versions": [], "labels": {}},
        ]
    }


def test_names_that_are_not_utf_8_do_not_break_the_pages() -> None:
    """A directory on disk may have any name, and an error text may quote it."""
    odd = "caf\udce9"
    failed = VersionStatus(4, State.END, Code.UNKNOWN, odd)
    table = RoutingTable(1, {"m": ModelRoutes(statuses=(failed,), problem=odd, ignored={odd: "not a whole number"})})

    json.loads(model_list_body(table))
    json.loads(readiness_body(table, draining=False)[1])
    table = RoutingTable(1, {odd: ModelRoutes(statuses=(failed,), labels={odd: 1})})
    json.loads(model_list_body(table))
    json.loads(readiness_body(table, draining=False)[1])


def test_the_list_names_rejected_versions_with_the_reason() -> None:
    """Their state alone would not say why a higher number gets no requests; secrets are hidden."""
    record = RolloutRecord(stable=3, rejected={4: Rejection("server_errors: token=abcdefgh"), 5: Rejection("")})

    listed = json.loads(model_list_body(RoutingTable(1, {"m": answering(delivery=record), "n": answering()})))

    assert [one.get("rejected") for one in listed["models"]] == [{"5": "", "4": "server_errors: token=***"}, None]
