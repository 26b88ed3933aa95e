"""`ray_model_server rollout`: how a rollout stands, and orders to it."""

from __future__ import annotations

import json

import pytest

from core.admin.delivery_messages import RolloutRequest
from core.errors import FailedPrecondition
from deployments.delivery_commands.rollout import main
from tests.support.admin_server import AdminServer
from tests.support.clients import wait_until
from tests.support.commands import done, run


@pytest.mark.parametrize(
    ("arguments", "order"),
    [
        (["start", "m"], RolloutRequest("m", "start", expected_generation=5)),
        (["start", "m", "8", "--force"], RolloutRequest("m", "start", 8, force=True, expected_generation=5)),
        (["pause", "m"], RolloutRequest("m", "pause", expected_generation=5)),
        (["resume", "m"], RolloutRequest("m", "resume", expected_generation=5)),
        (["promote", "m"], RolloutRequest("m", "promote", expected_generation=5)),
        (["promote", "m", "--full"], RolloutRequest("m", "promote", full=True, expected_generation=5)),
        (["abort", "m"], RolloutRequest("m", "abort", expected_generation=5)),
        (["undo", "m"], RolloutRequest("m", "undo", expected_generation=5)),
        (["retry", "m", "8"], RolloutRequest("m", "retry", 8, expected_generation=5)),
    ],
    ids=lambda one: " ".join(one) if isinstance(one, list) else "",
)
def test_an_order_is_given_for_the_record_that_was_seen(
    live: AdminServer, capsys, arguments: list[str], order: RolloutRequest
) -> None:
    """Each with what belongs to it."""
    live.orders.text = "done"

    assert done(live, capsys, "rollout", *arguments) == "m: done\n"
    assert live.orders.orders == [order]


def test_the_outcome_is_json_on_demand(live: AdminServer, capsys) -> None:
    """With the generation that came of it."""
    live.orders.text = "version 8 is paused in step 2"

    assert json.loads(done(live, capsys, "rollout", "pause", "m", "--json")) == {
        "model": "m", "order": "pause", "generation": 6, "outcome": "m: version 8 is paused in step 2",
    }  # fmt: skip


def test_an_order_that_has_no_meaning_now_is_refused_with_the_reason(live: AdminServer, capsys) -> None:
    """As text and as JSON, with exit status 1."""
    live.orders.refusal = FailedPrecondition("m: no rollout runs; there is nothing to abort")

    assert run(live, "rollout", "abort", "m") == 1
    assert capsys.readouterr().err == "ray_model_server: m: no rollout runs; there is nothing to abort\n"
    assert run(live, "rollout", "abort", "m", "--json") == 1
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "FAILED_PRECONDITION"


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["stop", "m"], "invalid choice: 'stop'"),
        (["pause"], "pause needs a MODEL"),
        (["pause", "m", "8"], "pause takes no VERSION"),
        (["abort", "m", "--full"], "--full belongs to promote"),
        (["retry", "m", "eight"], "eight is not a version number"),
        (["retry", "m", "-1"], "-1 is not a version number"),
        (["pause", "m", "--generation", "-5"], "-5"),
        (["pause", "m", "--generation", "x"], "x is not a generation"),
        (["pause", "m", "--generation", str(2**63)], "is not a generation"),
    ],
    ids=lambda one: " ".join(one) if isinstance(one, list) else "",
)
def test_arguments_that_make_no_sense_are_refused(capsys, live: AdminServer, arguments: list[str], reason: str) -> None:
    """Before a server is asked, with exit status 2."""
    with pytest.raises(SystemExit) as ended:
        run(live, "rollout", *arguments)

    assert ended.value.code == 2
    assert reason in capsys.readouterr().err
    assert live.orders.orders == []


def test_status_shows_the_rollouts_of_all_models_or_of_one(live: AdminServer, capsys) -> None:
    """A model without one is explained; one that is not there is an error."""
    expected = "m: no plan, no shares and no copies; the newest version gets all requests\n"

    assert done(live, capsys, "rollout", "status") == expected
    assert done(live, capsys, "rollout", "status", "m") == expected
    assert json.loads(done(live, capsys, "rollout", "status", "--json")) == {
        "models": [{"name": "m", "delivery": None}]
    }
    assert run(live, "rollout", "status", "x") == 1
    assert capsys.readouterr().err == "ray_model_server: There is no model x.\n"


def test_no_server_has_an_exit_status_of_its_own(capsys) -> None:
    """As for all commands."""
    assert main(["pause", "m", "--server", "unix:/nowhere/there"]) == 3
    assert "No Ray Model Server answers" in capsys.readouterr().err


def test_orders_move_a_real_rollout(planned: AdminServer, capsys) -> None:
    """From its first step over a pause to its end and back; what has no meaning is refused."""
    assert "version 2 in step 1 of 3" in done(planned, capsys, "rollout", "status", "m")
    assert done(planned, capsys, "rollout", "pause", "m") == "m: paused by a request\n"
    assert "version 2 paused in step 1 of 3" in done(planned, capsys, "rollout", "status")
    assert done(planned, capsys, "rollout", "resume", "m") == "m: resumed by a request\n"
    assert "step 2 of 3: 5 % of requests" in done(planned, capsys, "rollout", "promote", "m")
    assert done(planned, capsys, "rollout", "abort", "m") == "m: version 2: aborted by a request\n"
    wait_until(lambda: rejected(planned, capsys) == ["2"], "the canary is rejected")
    assert run(planned, "rollout", "abort", "m") == 1
    assert "abort is not possible: no rollout runs" in capsys.readouterr().err
    assert "version 2 is to follow 1" in done(planned, capsys, "rollout", "retry", "m")


def rejected(server: AdminServer, capsys) -> list[str]:
    shown = json.loads(done(server, capsys, "rollout", "status", "m", "--json"))
    return [one["version"] for one in shown["models"][0]["delivery"]["rejected"]]
