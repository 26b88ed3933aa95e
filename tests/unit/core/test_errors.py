"""Tests of the error tree: codes, texts, and the trip between processes."""

from __future__ import annotations

import pickle

import pytest

from core import errors
from core.errors import (
    HTTP_STATUS,
    Code,
    ConfigError,
    LabelNotFound,
    Problem,
    RuntimeFailure,
    ServableNotFound,
    ServingError,
    StatusNotFound,
)
from core.rest.path import UnconvertibleVersion
from core.routing.direct_frames import BrokenFrame
from core.versions.lifecycle import State
from core.versions.load_report import LoadFailed
from core.versions.record import Event, IllegalTransition

SPECIAL = [
    RuntimeFailure(Code.DATA_LOSS, "checksum"),
    LabelNotFound("stable"),
    ServableNotFound("m", 3),
    ServableNotFound("m", None),
    StatusNotFound("m", 3),
    StatusNotFound("m", None),
    ConfigError((Problem("wrong", "f", 3, "x"), Problem("also wrong"))),
    LoadFailed(Code.NOT_FOUND, "no SavedModel"),
    IllegalTransition(State.END, Event.GONE),
]
PLAIN = [
    kind("text")
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, ServingError) and kind.__init__ is ServingError.__init__
]


@pytest.mark.parametrize("error", [*SPECIAL, *PLAIN, BrokenFrame("b"), UnconvertibleVersion("v")], ids=repr)
def test_an_error_survives_the_trip_between_processes(error) -> None:
    """Code, text and type are the same after pickling."""
    there = pickle.loads(pickle.dumps(error))

    assert (type(there), there.code, str(there)) == (type(error), error.code, str(error))


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ServableNotFound("m", None), "Servable not found for request: Latest(m)"),
        (ServableNotFound("m", 0), "Servable not found for request: Specific(m, 0)"),
        (LabelNotFound("stable"), "Unrecognized servable version label: stable"),
        pytest.param(
            StatusNotFound("nonexistent_model", None),
            "Could not find any versions of model nonexistent_model",
            id="case_E6",
        ),
        (StatusNotFound("m", 3), "Could not find version 3 of model m"),
    ],
)
def test_texts_are_those_that_clients_know(error, text) -> None:
    """What a client sees is TensorFlow Serving's text."""
    assert str(error) == text


@pytest.mark.parametrize("code", Code)
def test_every_code_has_an_http_status(code) -> None:
    """No error can be without a status."""
    assert 200 <= HTTP_STATUS[code] < 600


@pytest.mark.parametrize(
    ("code", "status"),
    [
        (Code.FAILED_PRECONDITION, 400),
        (Code.DEADLINE_EXCEEDED, 504),
        (Code.RESOURCE_EXHAUSTED, 429),
        (Code.UNAVAILABLE, 503),
        (Code.CANCELLED, 499),
        (Code.UNIMPLEMENTED, 501),
    ],
)
def test_http_statuses_are_tensorflow_servings(code, status) -> None:
    """The statuses that other mappings give differently."""
    assert HTTP_STATUS[code] == status


def test_a_configuration_error_lists_all_mistakes() -> None:
    """One line for each mistake, with its place as far as known."""
    error = ConfigError((Problem("wrong", "f.config", 3, "name"), Problem("empty", "g.yaml"), Problem("bare")))

    assert str(error) == "f.config:3: name: wrong\ng.yaml: empty\nbare"
    assert error.code is Code.INVALID_ARGUMENT
