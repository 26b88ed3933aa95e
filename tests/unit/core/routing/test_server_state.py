"""The three states of a server, and the reasons that are given for them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from core.errors import Code, Problem
from core.routing.server_state import Readiness, failed_loads, server_state, unready_versions, why_missing
from core.routing.table import ListInForce, ModelRoutes, Route, RoutingTable
from core.versions.history import VersionHistory
from core.versions.lifecycle import State, VersionStatus
from core.versions.record import GIVEN_UP, Failure
from core.versions.servable import ServableId

READY, PROBLEMS, NOT_READY = Readiness
NO_OP = Failure(Code.INVALID_ARGUMENT, "Op type not registered 'Zz'")
SHOWN = {State.AVAILABLE: State.AVAILABLE, State.START: State.LOADING}


def model(*histories: tuple[int, VersionHistory], **known: object) -> ModelRoutes:
    """Make a model; a version whose load is retried is shown as LOADING."""
    return ModelRoutes(
        {number: Route.of(ServableId("m", number)) for number, one in histories if one.state is State.AVAILABLE},
        statuses=tuple(
            VersionStatus(number, SHOWN.get(one.state, one.state)) for number, one in sorted(histories, reverse=True)
        ),
        histories=dict(histories),
        **known,
    )


def failing(state: State = State.START, **known: object) -> VersionHistory:
    return VersionHistory(state, **{"failed_attempts": 1, "retry_at_s": 60.0, "failure": NO_OP, **known})


LOST = VersionStatus(1, State.AVAILABLE, Code.INTERNAL, "every run failed so far: device lost")
ANSWERS = VersionHistory(State.AVAILABLE)
LOADS = VersionHistory(State.LOADING)
RETRY = "could not be loaded: INVALID_ARGUMENT: Op type not registered 'Zz' (attempt 1; next attempt at 1970-01-01T00:01:00.000Z)"
REFUSED = ListInForce(problems=(Problem("typo", "models.config", 3),))


@pytest.mark.parametrize(
    ("models", "known", "expected", "reasons"),
    [
        pytest.param({}, {}, READY, [], id="no_model_is_configured"),
        pytest.param({"m": model((1, ANSWERS))}, {}, READY, [], id="all_answer"),
        pytest.param({"m": model((1, ANSWERS), (2, LOADS))}, {}, READY, [], id="a_rollout_is_not_a_problem"),
        pytest.param(
            {"m": model((1, ANSWERS), (2, LOADS), labels={"a": 2}, held={"a": 1})}, {}, READY, [], id="a_label_moves"
        ),
        pytest.param(
            {"m": model((1, ANSWERS)), "n": model((1, failing()))}, {}, PROBLEMS,
            [f"n does not answer: version 1 {RETRY}"], id="one_of_two_models_is_broken",
        ),
        pytest.param(
            {"m": model((1, ANSWERS), (2, failing()))}, {}, PROBLEMS, [f"m version 2 {RETRY}"], id="a_successor_fails"
        ),
        pytest.param(
            {"m": model((1, ANSWERS), labels={"a": 9})}, {}, PROBLEMS,
            ["m label a names version 9, which does not answer"], id="a_label_names_nothing",
        ),
        pytest.param(
            {"m": model((1, ANSWERS), labels={"a": 9}, held={"a": 1})}, {}, PROBLEMS,
            ["m label a waits for version 9, and names version 1 until it answers"], id="a_label_waits_for_nothing",
        ),
        pytest.param(
            {"m": model((1, ANSWERS), problem="Could not find base path /m: store is away")}, {}, PROBLEMS,
            ["m cannot be listed: Could not find base path /m: store is away"], id="storage_is_away",
        ),
        pytest.param(
            {"m": model((1, ANSWERS), problem="/m/2 waits for saved_model.pb: it holds model.keras")}, {}, PROBLEMS,
            ["m /m/2 waits for saved_model.pb: it holds model.keras"], id="a_successor_is_not_a_saved_model",
        ),
        pytest.param(
            {"m": replace(model((1, ANSWERS)), statuses=(LOST,))}, {}, PROBLEMS,
            ["m version 1: every run failed so far: device lost"], id="every_run_fails",
        ),
        pytest.param(
            {"m": model((1, ANSWERS))}, {"in_force": REFUSED}, PROBLEMS,
            ["the configuration is refused: models.config:3: typo"], id="a_configuration_is_refused",
        ),
        pytest.param(
            {"m": model((1, LOADS)), "n": model()}, {}, NOT_READY,
            ["m does not answer: version 1 is in state LOADING", "n does not answer: no version was found"],
            id="no_model_answers",
        ),
        pytest.param(
            {"m": model((1, ANSWERS), (2, LOADS))}, {"awaited": frozenset({ServableId("m", 2)})}, NOT_READY,
            ["m version 2 has neither answered nor failed yet"], id="a_declared_version_is_awaited",
        ),
        pytest.param({"m": model((1, ANSWERS))}, {"settled": False}, NOT_READY, [], id="not_settled"),
        pytest.param(
            {"m": model((1, ANSWERS)), "old": model(configured=False)}, {}, READY, [], id="removed_models_do_not_count"
        ),
    ],
)  # fmt: skip
def test_the_state_follows_from_the_table(models, known, expected, reasons) -> None:
    """A server is never ready without a model that answers, and never without problems while something is broken."""
    state = server_state(RoutingTable(5, models, **{"settled": True, **known}))

    assert (state.readiness, list(state.reasons)) == (expected, reasons)
    assert state.is_ready is (expected is not NOT_READY)


def test_a_stopping_server_is_not_ready() -> None:
    """It says so before anything else."""
    state = server_state(RoutingTable(5, {"m": model((1, ANSWERS))}, settled=True), is_draining=True)

    assert (state.readiness, state.reasons) == (NOT_READY, ("the server is stopping",))


def test_a_router_without_a_table_is_not_ready() -> None:
    """It knows of no model, which is not the same as that none is configured."""
    state = server_state(RoutingTable(0))

    assert (state.readiness, state.reasons) == (NOT_READY, ("no routing table has come yet",))


@pytest.mark.parametrize(
    ("history", "text"),
    [
        (failing(), f"version 1 {RETRY}"),
        (failing(State.LOADING, retry_at_s=None), RETRY.partition(" (")[0].join(["version 1 ", "; attempt 2 runs"])),
        (
            failing(State.END, retry_at_s=None, failed_attempts=6),
            f"version 1 {RETRY.partition(' (')[0]} (attempt 6; not tried again until its files change)",
        ),
        (failing(aspired=False), None),
        (VersionHistory(State.START, failure=GIVEN_UP), None),
        (ANSWERS, None),
    ],
)
def test_a_failed_load_says_what_happens_next(history, text) -> None:
    """Only of versions that are wanted."""
    assert failed_loads(model((1, history))).get(1) == text


def test_of_several_failed_versions_the_newest_tells_why_a_model_is_missing() -> None:
    """It is the one that requests would go to."""
    other = Failure(Code.NOT_FOUND, "old")

    text = why_missing(model((1, failing(failure=other)), (2, failing()), (3, LOADS)))

    assert text == f"version 2 {RETRY}"


@pytest.mark.parametrize(
    ("models", "reasons"),
    [
        pytest.param({}, [], id="no_model_is_configured"),
        pytest.param({"m": model((1, ANSWERS), (2, ANSWERS))}, [], id="all_answer"),
        pytest.param(
            {"m": model((1, ANSWERS), (2, LOADS))}, ["m version 2 is in state LOADING"], id="a_version_is_coming"
        ),
        pytest.param({"m": model((1, ANSWERS), (2, failing()))}, [f"m version 2 {RETRY}"], id="a_successor_fails"),
        pytest.param(
            {"m": model((1, ANSWERS)), "n": model((1, failing()))}, [f"n does not answer: version 1 {RETRY}"],
            id="one_of_two_models_is_broken",
        ),
        pytest.param(
            {"m": model((1, VersionHistory(State.END)), (2, VersionHistory(State.UNLOADING)), (3, ANSWERS))}, [],
            id="versions_are_unloaded",
        ),
        pytest.param(
            {"m": replace(model((2, ANSWERS)), statuses=(
                VersionStatus(2, State.AVAILABLE), VersionStatus(1, State.END, Code.INTERNAL, "disk full")
            ))}, ["m version 1 disk full"], id="a_version_has_ended_with_an_error",
        ),
        pytest.param(
            {"m": replace(model((1, ANSWERS)), statuses=(LOST,))},
            ["m version 1: every run failed so far: device lost"], id="every_run_fails",
        ),
        pytest.param({"m": ModelRoutes(configured=False)}, [], id="a_model_is_not_wanted_any_more"),
    ],
)  # fmt: skip
def test_strict_readiness_wants_every_version_of_every_model(
    models: dict[str, ModelRoutes], reasons: list[str]
) -> None:
    """As Triton does; what is unloaded on purpose does not count."""
    assert list(unready_versions(RoutingTable(1, models, settled=True))) == reasons
