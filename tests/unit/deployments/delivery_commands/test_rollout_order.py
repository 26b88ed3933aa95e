"""Orders for the state that was seen: compare and set."""

from __future__ import annotations

from tests.support.admin_server import AdminServer
from tests.support.commands import done, run


def test_an_order_is_repeated_while_its_subject_stays(live: AdminServer, capsys) -> None:
    """Bakes and evidence change all the time, and are nothing that an order is about."""
    risen = iter((6, 7))

    def rise() -> None:
        live.orders.generation = next(risen, live.orders.generation)

    live.orders.before_order = rise
    done(live, capsys, "rollout", "pause", "m")

    assert [one.expected_generation for one in live.orders.orders] == [7]


def test_an_order_is_not_given_to_another_state_than_was_seen(live: AdminServer, capsys) -> None:
    """`promote` for step 2 must not promote step 3."""

    def go_on() -> None:
        live.orders.generation += 1
        live.orders.record = {**live.orders.record, "step": 2}

    live.orders.before_order = go_on

    assert run(live, "rollout", "promote", "m") == 1
    assert capsys.readouterr().err == "ray_model_server: m: the rollout has gone on meanwhile; look at it again.\n"
    assert live.orders.orders == []


def test_an_order_gives_up_when_the_record_changes_forever(live: AdminServer, capsys) -> None:
    """It does not turn in circles."""

    def rise() -> None:
        live.orders.generation += 1

    live.orders.before_order = rise

    assert run(live, "rollout", "promote", "m") == 1
    assert "changed 20 times meanwhile; try again" in capsys.readouterr().err


def test_a_script_names_the_generation_that_it_saw(live: AdminServer, capsys) -> None:
    """Then nothing is repeated."""
    assert run(live, "rollout", "pause", "m", "--generation", "4") == 1
    assert "The record has generation 5." in capsys.readouterr().err
    done(live, capsys, "rollout", "pause", "m", "--generation", "5")

    assert [one.expected_generation for one in live.orders.orders] == [5]


def test_an_order_without_effect_says_so(live: AdminServer, capsys) -> None:
    """It is no error: what was wanted is there."""
    live.orders.text = ""

    assert done(live, capsys, "rollout", "pause", "m") == "m: nothing to change\n"


def test_a_record_that_cannot_be_read_is_about_nothing(live: AdminServer, capsys) -> None:
    """A later version may write others."""
    live.orders.record = ["another form"]
    done(live, capsys, "rollout", "pause", "m")

    assert len(live.orders.orders) == 1
