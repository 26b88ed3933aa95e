"""Messages of the Admin service, as one end writes them and the other reads them."""

from __future__ import annotations

import pytest

from core.admin import messages
from core.admin.messages import ConfigInForce
from core.admin.model_changes import KnownModels
from core.config.model_config import ModelConfig
from core.config.models_text import to_message
from core.config.version_policy import Specific
from core.errors import InvalidArgument
from core.profiling.profile_request import ProfileRequest
from core.protos import admin_pb2
from core.routing.table import ModelRoutes, RoutingTable
from core.versions.history import VersionHistory
from core.versions.lifecycle import State

M = ModelConfig("m", "/m", Specific(frozenset({1, 2})), {"stable": 1})
NEITHER = b"\xff"


def test_a_list_in_force_arrives_with_files_versions_and_fingerprint() -> None:
    """So that a command can change it without losing what others changed."""
    raw = messages.config_answer([M], [ModelConfig("f", "/f")], "abc", {"m": {2, 1}}, is_requested=True)

    known = KnownModels((M,), (ModelConfig("f", "/f"),), {"m": frozenset({1, 2})})
    assert messages.read_config_answer(raw) == ConfigInForce(known, "abc", is_requested=True)


@pytest.mark.parametrize("models", [(), (M,)])
def test_a_change_arrives_with_the_fingerprint_that_it_expects(models: tuple[ModelConfig, ...]) -> None:
    """A list without models is one, too."""
    change = messages.read_change_request(messages.change_request(models, "abc"))

    assert (change.config, change.expected_fingerprint) == (to_message(models), "abc")


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (NEITHER, "The request is not a valid ChangeConfigRequest message."),
        (messages.change_request([M], ""), "expected_fingerprint is missing; GetConfig returns it."),
        (
            admin_pb2.ChangeConfigRequest(expected_fingerprint="a").SerializeToString(),
            "config.model_config_list is missing; without models, it is there and empty.",
        ),
    ],
)
def test_a_change_that_could_lose_others_is_refused(raw: bytes, text: str) -> None:
    """A list that was never read, and one that was forgotten."""
    with pytest.raises(InvalidArgument) as raised:
        messages.read_change_request(raw)

    assert str(raised.value) == text


@pytest.mark.parametrize(
    "request_",
    [
        ProfileRequest("m", 0.5),
        ProfileRequest("m", 60.0, version=0),
        ProfileRequest("m", 0.1, label=""),
        ProfileRequest("m", 5.0, label="stable"),
    ],
)
def test_a_request_for_a_profile_arrives_as_it_is(request_: ProfileRequest) -> None:
    """Version 0 and an empty label are not the same as none."""
    assert messages.read_profile_request(messages.profile_request(request_)) == request_


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (NEITHER, "The request is not a valid ProfileRequest message."),
        (messages.profile_request(ProfileRequest("", 1.0)), "model is missing."),
        (messages.profile_request(ProfileRequest("m", 1.0, 1, "a")), "A version and a label cannot both be given."),
        (
            messages.profile_request(ProfileRequest("m", 61.0)),
            "seconds is 61; a profile takes from 0.1 to 60 seconds.",
        ),
    ],
)
def test_a_wrong_request_for_a_profile_is_refused(raw: bytes, text: str) -> None:
    """At the server, whatever the client checked."""
    with pytest.raises(InvalidArgument) as raised:
        messages.read_profile_request(raw)

    assert str(raised.value) == text


def test_answers_arrive_as_they_are() -> None:
    """A document, a trace with its version, and the generation of a change."""
    assert messages.read_status_answer(messages.status_document_answer('{"ä": 1}'.encode())) == '{"ä": 1}'
    assert messages.read_profile_answer(messages.profile_answer(b"\x00trace", 7)) == (b"\x00trace", 7)
    assert messages.read_change_answer(messages.change_answer("abc", 12)) == 12


def test_only_aspired_versions_of_configured_models_count_as_wanted() -> None:
    """Those that leave are not brought back by a change."""
    histories = {1: VersionHistory(State.UNLOADING, aspired=False), 2: VersionHistory(State.AVAILABLE, aspired=True)}
    table = RoutingTable(1, {"m": ModelRoutes(histories=histories), "gone": ModelRoutes(configured=False)})

    assert messages.wanted_versions(table) == {"m": frozenset({2})}
