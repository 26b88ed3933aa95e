"""The model repository extension: the index, its requests, and the outcome of a load."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.admin.model_changes import KnownModels
from core.config.model_config import ModelConfig
from core.config.version_policy import Latest, Specific
from core.errors import Aborted, Code, Internal, InvalidArgument, NotFound, PermissionDenied, Unimplemented
from core.oip.repository import (
    IndexEntry,
    IndexState,
    RepositoryRequest,
    check_load_body,
    check_load_parameters,
    expect_enabled,
    index_message,
    is_loaded,
    load_configured,
    read_index_body,
    read_repository_request,
    repository_index,
    unload_configured,
)
from core.protos import oip_pb2
from core.routing.table import ModelRoutes, Route, RoutingTable
from core.versions.history import VersionHistory
from core.versions.lifecycle import State, VersionStatus
from core.versions.record import GIVEN_UP, Failure
from core.versions.servable import ServableId

KEYS = st.sampled_from(["ready", "parameters", "config", "file:1/a", "other"])


def _nested(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(values) | st.dictionaries(KEYS, values)


def _dumped(value: Any) -> bytes:
    return json.dumps(value).encode()


BROKEN = Failure(Code.NOT_FOUND, "no SavedModel at s3://key:word@store/m")
BROKEN_TEXT = "version 1 could not be loaded: NOT_FOUND: no SavedModel at s3://***@store/m"


def model(*histories: tuple[int, VersionHistory], **known) -> ModelRoutes:
    """Make a model with these versions; what is available answers."""
    return ModelRoutes(
        routes={
            version: Route.of(ServableId("m", version)) for version, one in histories if one.state is State.AVAILABLE
        },
        statuses=tuple(VersionStatus(version, one.state) for version, one in sorted(histories, reverse=True)),
        histories=dict(histories),
        **known,
    )


def in_state(state: State, **more) -> VersionHistory:
    return VersionHistory(state, **more)


def table(generation: int = 5, **models: ModelRoutes) -> RoutingTable:
    return RoutingTable(generation, models, settled=True)


@pytest.mark.parametrize(
    ("history", "state", "reason"),
    [
        (in_state(State.START), IndexState.LOADING, ""),
        (in_state(State.LOADING), IndexState.LOADING, ""),
        (in_state(State.AVAILABLE), IndexState.READY, ""),
        (in_state(State.UNLOADING, aspired=False), IndexState.UNLOADING, ""),
        (in_state(State.END, aspired=False), IndexState.UNAVAILABLE, "unloaded"),
        (in_state(State.END, aspired=False, failure=GIVEN_UP), IndexState.UNAVAILABLE, "unloaded"),
        (
            in_state(State.END, failed_attempts=2, failure=BROKEN),
            IndexState.UNAVAILABLE,
            f"{BROKEN_TEXT} (attempt 2; not tried again until its files change)",
        ),
        (
            in_state(State.START, failed_attempts=1, retry_at_s=60.0, failure=BROKEN),
            IndexState.UNAVAILABLE,
            f"{BROKEN_TEXT} (attempt 1; next attempt at 1970-01-01T00:01:00.000Z)",
        ),
    ],
)
def test_each_state_has_its_word_and_a_failed_load_its_reason(history, state, reason) -> None:
    """Without the secrets that an error may quote."""
    assert repository_index(table(m=model((1, history))), ()) == (IndexEntry("m", "1", state, reason),)


def test_versions_stand_in_the_order_of_names_and_numbers() -> None:
    """Number 10 comes after 9."""
    many = model(*((number, in_state(State.AVAILABLE)) for number in (10, 9)))
    shown = repository_index(table(b=many, a=many), ())

    assert [(one.name, one.version) for one in shown] == [("a", "9"), ("a", "10"), ("b", "9"), ("b", "10")]


def test_a_configured_model_without_versions_is_unavailable_and_says_why() -> None:
    """Nobody would look for it in the logs."""
    shown = repository_index(table(m=ModelRoutes(problem="Could not find base path /m")), ())

    assert shown == (IndexEntry("m", "", IndexState.UNAVAILABLE, "Could not find base path /m"),)
    assert shown[0].texts == {"name": "m", "state": "UNAVAILABLE", "reason": "Could not find base path /m"}


def test_models_of_the_files_that_are_not_loaded_are_listed_by_name_alone() -> None:
    """As Triton lists models that were never loaded; those that are known already are listed once."""
    shown = repository_index(table(m=model((1, in_state(State.AVAILABLE)))), ("z", "m", "a"))

    assert [one.texts for one in shown] == [
        {"name": "a"},
        {"name": "m", "version": "1", "state": "READY"},
        {"name": "z"},
    ]


def test_only_ready_versions_are_shown_where_only_they_are_wanted() -> None:
    """Whoever balances requests needs no others."""
    known = table(m=model((1, in_state(State.AVAILABLE)), (2, in_state(State.LOADING))), n=ModelRoutes())

    assert [one.version for one in repository_index(known, ("z",), only_ready=True)] == ["1"]


def test_a_text_that_is_not_unicode_is_shown_as_far_as_it_is() -> None:
    """Base paths are bytes; neither JSON nor protobuf could carry them."""
    [entry] = repository_index(table(m=ModelRoutes(problem="not there: \udcff")), ())

    assert entry.texts["reason"] == "not there: ?"
    assert oip_pb2.RepositoryIndexResponse.FromString(index_message([entry])).models[0].reason == "not there: ?"


def test_the_message_has_the_same_entries() -> None:
    """Absent members are empty texts there."""
    entries = (IndexEntry("m", "1", IndexState.READY), IndexEntry("z"))
    [first, last] = oip_pb2.RepositoryIndexResponse.FromString(index_message(entries)).models

    assert (first.name, first.version, first.state, first.reason) == ("m", "1", "READY", "")
    assert (last.name, last.version, last.state) == ("z", "", "")


@pytest.mark.parametrize(
    ("body", "ready"), [(b"", False), (b" \n", False), (b"{}", False), (b'{"ready":true}', True), (b'{"ready":false}', False)]
)  # fmt: skip
def test_the_body_of_an_index_request_may_be_empty(body, ready) -> None:
    """Tritonclient sends nothing, others an object."""
    assert read_index_body(body) is ready


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"{", "failed to parse the request JSON buffer"),
        (b"\xff", "failed to parse the request JSON buffer"),
        (b"[" * 5000, "the request JSON is nested deeper than 256 levels"),
        (b"[]", "must be a JSON object"),
        (b'{"ready":1}', "'ready' must be true or false, found 1"),
    ],
)
def test_a_malformed_index_request_is_refused(body, text) -> None:
    """With what is wrong."""
    with pytest.raises(InvalidArgument, match=text):
        read_index_body(body)


@given(st.binary() | st.recursive(st.none() | st.booleans() | st.integers() | st.text(), _nested).map(_dumped))
def test_any_body_is_read_or_refused(body) -> None:
    """Nothing else is raised, whatever the bytes are."""
    for read in (read_index_body, check_load_body):
        with suppress(InvalidArgument):
            read(body)


@pytest.mark.parametrize("body", [b"", b"{}", b'{"parameters":{}}', b'{"parameters":{"unload_dependents":false}}'])
def test_a_load_needs_no_parameters(body) -> None:
    """Those without effect are no mistake."""
    check_load_body(body)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b'{"parameters":{"config":"{}"}}', "'config' is not supported"),
        (b'{"parameters":{"file:1/model.pb":"AA=="}}', "'file:1/model.pb' is not supported"),
        (b'{"parameters":[]}', "'parameters' must be an object"),
        (b"nonsense", "failed to parse the request JSON buffer"),
    ],
)
def test_a_load_of_other_files_or_settings_is_refused(body, text) -> None:
    """It would load something else than the client meant."""
    with pytest.raises(InvalidArgument, match=text):
        check_load_body(body)
    check_load_parameters(["unload_dependents"])


@pytest.mark.parametrize(
    ("fields", "expected"), [(("", "m"), RepositoryRequest("m")), (("m", ""), RepositoryRequest("m", is_kserve=True))]
)
def test_the_name_is_in_the_second_field_or_as_of_kserve_in_the_first(fields, expected) -> None:
    """Two dialects share the name of the message."""
    assert read_repository_request(*fields) == expected


def test_a_request_names_one_model_and_no_repository() -> None:
    """There is one repository."""
    with pytest.raises(Unimplemented, match="'repository_name' specification is not supported"):
        read_repository_request("r", "m")
    with pytest.raises(InvalidArgument, match="names no model"):
        read_repository_request("", "")


def test_what_is_switched_off_is_refused_with_the_flag() -> None:
    """The operator reads what to do."""
    expect_enabled(is_enabled=True)
    with pytest.raises(PermissionDenied, match="--enable_model_repository_api"):
        expect_enabled(is_enabled=False)


M, N = ModelConfig("m", "/m", policy=Latest(2), labels={"stable": 1}), ModelConfig("n", "/n")


def test_a_load_brings_a_model_back_as_the_files_have_it() -> None:
    """With its policy and labels."""
    assert load_configured("m")(KnownModels((N,), (M, N))) == (N, M)


def test_a_load_changes_nothing_of_a_model_that_is_served() -> None:
    """Also where it is served otherwise than the files say."""
    known = KnownModels((ModelConfig("m", "/elsewhere", policy=Specific(frozenset({3}))),), (M,))

    assert load_configured("m")(known) == known.models


def test_a_model_that_is_configured_nowhere_cannot_be_loaded() -> None:
    """The protocol has no way to say where it is."""
    with pytest.raises(NotFound, match="failed to load 'x'"):
        load_configured("x")(KnownModels((N,), (M, N)))


def test_an_unload_removes_the_model() -> None:
    """Once more changes nothing; what nobody knows is not found."""
    assert unload_configured("m")(KnownModels((M, N), (M, N))) == (N,)
    assert unload_configured("m")(KnownModels((N,), (M, N))) == (N,)
    with pytest.raises(NotFound, match="failed to unload 'x'"):
        unload_configured("x")(KnownModels((N,), (M, N)))


AVAILABLE = model((1, in_state(State.AVAILABLE)))


@pytest.mark.parametrize(
    ("known", "generation", "loaded"),
    [
        pytest.param(table(m=AVAILABLE), 5, True, id="answers"),
        pytest.param(table(m=AVAILABLE), 0, True, id="answered_before"),
        pytest.param(table(4, m=AVAILABLE), 5, False, id="an_older_table"),
        pytest.param(table(4), 5, False, id="not_in_an_older_table"),
        pytest.param(table(), 0, False, id="another_load_is_on_its_way_here"),
        pytest.param(table(m=model((1, in_state(State.AVAILABLE, aspired=False)))), 5, False, id="retires"),
        pytest.param(table(m=model((1, in_state(State.UNLOADING)))), 5, False, id="still_unloading"),
        pytest.param(table(m=model((1, in_state(State.END, failure=GIVEN_UP)))), 5, False, id="given_up_before"),
        pytest.param(table(m=ModelRoutes()), 5, False, id="storage_not_looked_at"),
        pytest.param(
            table(m=model((1, in_state(State.AVAILABLE)), (2, in_state(State.END, failure=BROKEN)))), 5, True, id="one_of_two"
        ),
    ],
)  # fmt: skip
def test_a_load_ends_when_a_wanted_version_answers(known, generation, loaded) -> None:
    """By a table that has the change."""
    assert is_loaded(known, "m", generation) is loaded


@pytest.mark.parametrize(
    ("broken", "text"),
    [
        (model((1, in_state(State.END, failure=BROKEN))), BROKEN_TEXT),
        (model((1, in_state(State.START, failure=BROKEN, failed_attempts=1))), BROKEN_TEXT),
        (ModelRoutes(problem="Could not find base path /m"), "Could not find base path /m"),
    ],
)
def test_a_load_that_failed_is_an_error_with_its_reason(broken, text) -> None:
    """At its first attempt, or where there is nothing to load."""
    with pytest.raises(Internal) as raised:
        is_loaded(table(m=broken), "m", 5)

    assert str(raised.value).startswith(f"failed to load 'm': {text}")


@pytest.mark.parametrize("known", [table(), table(m=model((1, in_state(State.AVAILABLE)), configured=False))])
def test_a_load_that_was_undone_meanwhile_is_aborted(known) -> None:
    """Another change came after it; waiting on would never end."""
    with pytest.raises(Aborted, match="changed once more"):
        is_loaded(known, "m", 5)
