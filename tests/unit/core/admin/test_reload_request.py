"""When a reload request is answered, and its error for models that do not answer."""

from __future__ import annotations

from typing import Any

import pytest

from core.admin.reload_request import is_settled, read_request, require_available
from core.config.version_policy import All, Specific
from core.errors import Code, InvalidArgument, RuntimeFailure
from core.protos import model_config_pb2, serving_pb2
from core.routing.table import ModelRoutes, Route, RoutingTable
from core.versions.history import VersionHistory
from core.versions.lifecycle import State, VersionStatus
from core.versions.record import GIVEN_UP
from core.versions.servable import ServableId


def model(*versions: tuple[int, State, Code, bool], **more: Any) -> ModelRoutes:
    """Make a model of (number, state, code of its failure; ABORTED for one given up, whether it is wanted)."""
    routes = {number: Route.of(ServableId("m", number)) for number, state, _, _ in versions if state is State.AVAILABLE}
    statuses = tuple(VersionStatus(number, state, code, "why") for number, state, code, _ in versions)
    histories = {
        number: VersionHistory(state, aspired=wanted, failure=GIVEN_UP if code is Code.ABORTED else None)
        for number, state, code, wanted in versions
    }
    return ModelRoutes(routes, statuses=statuses, histories=histories, **more)


WANTED, LEAVING = True, False


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        pytest.param(model(), False, id="nothing_known_yet"),
        pytest.param(model((1, State.LOADING, Code.OK, WANTED)), False, id="loads"),
        pytest.param(model((1, State.AVAILABLE, Code.OK, WANTED)), True, id="answers"),
        pytest.param(model((1, State.AVAILABLE, Code.OK, LEAVING)), False, id="answers_but_leaves"),
        pytest.param(model((1, State.END, Code.NOT_FOUND, WANTED)), True, id="failed"),
        pytest.param(model((2, State.START, Code.OK, WANTED), (1, State.END, Code.NOT_FOUND, LEAVING)), False,
                     id="one_that_is_not_wanted_failed"),
        pytest.param(model((1, State.END, Code.ABORTED, WANTED)), False, id="given_up_before_it_was_added_again"),
        pytest.param(model((1, State.END, Code.CANCELLED, WANTED)), True, id="failed_by_cancellation"),
        pytest.param(model((1, State.END, Code.OK, LEAVING)), False, id="ended_well_before"),
        pytest.param(model((2, State.LOADING, Code.OK, WANTED), (1, State.AVAILABLE, Code.OK, WANTED),
                           labels={"canary": 2}), False, id="one_that_a_label_names_loads"),
        pytest.param(model((3, State.AVAILABLE, Code.OK, WANTED), (2, State.LOADING, Code.OK, WANTED),
                           policy=Specific(frozenset({2, 3}))), False, id="one_that_the_policy_names_loads"),
        pytest.param(model((3, State.AVAILABLE, Code.OK, WANTED), (2, State.LOADING, Code.OK, WANTED),
                           policy=All()), True, id="an_older_one_loads"),
        pytest.param(model((1, State.AVAILABLE, Code.OK, WANTED), labels={"canary": 9}), True,
                     id="a_label_names_what_is_not_there"),
        pytest.param(model(problem="no such folder"), True, id="nothing_to_load"),
        pytest.param(model((1, State.END, Code.CANCELLED, LEAVING), configured=False), True, id="removed_again"),
    ],
)  # fmt: skip
def test_a_reload_waits_for_what_its_own_list_wants(found, expected) -> None:
    """What happened to the same model under an earlier list is no outcome."""
    assert is_settled(RoutingTable(1, {"m": found}), ["m"]) is expected


def test_a_model_that_is_gone_again_is_waited_for_no_longer() -> None:
    """The list that removed it came after the one that is waited for."""
    assert is_settled(RoutingTable(1), ["m"])


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        ({"m": model((2, State.END, Code.NOT_FOUND, WANTED), (1, State.END, Code.INTERNAL, WANTED))},
         "{{name: m version: 2} due to error: NOT_FOUND: why}"),
        ({"m": model(problem="no such folder")}, "{m due to error: NOT_FOUND: no such folder}"),
        ({}, "{m due to error: ABORTED: another list of models without it was put in force meanwhile}"),
        ({"m": model((1, State.AVAILABLE, Code.OK, LEAVING), configured=False)},
         "{m due to error: ABORTED: another list of models without it was put in force meanwhile}"),
    ],
    ids=["failed", "nothing_to_load", "gone", "removed_while_it_answers"],
)  # fmt: skip
def test_each_model_that_does_not_answer_is_named_with_the_reason(found, reason) -> None:
    """The newest failure counts."""
    good = model((1, State.AVAILABLE, Code.OK, WANTED))
    with pytest.raises(RuntimeFailure) as caught:
        require_available(RoutingTable(1, {"good": good, **found}), ["m", "good"])

    assert caught.value.code is Code.UNKNOWN
    assert str(caught.value) == f"1 model(s) did not become available: {{{reason}, }}"


def test_nothing_is_raised_when_all_answer() -> None:
    """Models that the request did not add are not asked about."""
    table = RoutingTable(1, {"m": model((1, State.AVAILABLE, Code.OK, WANTED)), "other": model(problem="none")})

    require_available(table, ["m"])


CUSTOM = model_config_pb2.ModelServerConfig()
CUSTOM.custom_model_config.type_url = "x/google.protobuf.Any"


@pytest.mark.parametrize("config", [model_config_pb2.ModelServerConfig(), CUSTOM], ids=["neither", "custom"])
def test_a_request_without_a_list_is_refused(config) -> None:
    """Before anything is compared with what is in force (TensorFlow Serving's text)."""
    with pytest.raises(InvalidArgument) as caught:
        read_request(serving_pb2.ReloadConfigRequest(config=config).SerializeToString())

    assert str(caught.value) == (
        "ServerModelConfig type not supported by HandleReloadConfigRequest. Only ModelConfigList is currently supported"
    )


def test_an_empty_list_is_a_list() -> None:
    """It removes every model."""
    config = model_config_pb2.ModelServerConfig(model_config_list=model_config_pb2.ModelConfigList())

    assert read_request(serving_pb2.ReloadConfigRequest(config=config).SerializeToString()).config == config
