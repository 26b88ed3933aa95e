"""`ray_model_server load`: versions and models that are added, and what is said when they cannot be."""

from __future__ import annotations

import json
from typing import Any

import pytest

from core.config.version_policy import All, Latest, Specific
from deployments.commands.admin_client import AdminClient, NoServer
from tests.support.admin_server import AdminServer
from tests.support.clients import wait_until
from tests.support.commands import done, in_force, run


def test_a_version_is_loaded_beside_the_others(live: AdminServer, capsys) -> None:
    """The command waits until it answers, and says what it did."""
    printed = done(live, capsys, "load", "m", "1")

    assert printed == "m: policy latest 1 -> specific 1, 2\nm version 1: AVAILABLE after 0.2 s\n"
    assert in_force(live)["m"].policy == Specific(frozenset({1, 2}))
    assert live.site.host.running == {"m:1", "m:2"}
    assert "nothing to change" in done(live, capsys, "load", "m", "1")


def test_a_version_that_cannot_be_loaded_fails_the_command(live: AdminServer, capsys) -> None:
    """At its first attempt; the server goes on trying."""
    live.site.host.broken = lambda _: True

    assert run(live, "load", "m", "1", "--json") == 1

    answer = json.loads(capsys.readouterr().out)
    assert (answer["ok"], answer["changes"]) == (False, ["m: policy latest 1 -> specific 1, 2"])
    assert answer["outcome"].startswith("m version 1: could not be loaded: NOT_FOUND: no SavedModel there; tried again")


def test_a_version_that_is_not_there_is_reported_at_once(live: AdminServer, capsys) -> None:
    """It is wanted from now on, and loaded when it comes."""
    assert run(live, "load", "m", "7") == 1
    printed = capsys.readouterr().out
    assert "m version 7: not found below /m" in printed
    assert "The change stays, although it has failed: m: policy latest 1 -> specific 2, 7" in printed

    live.site.source.write("/m", 7)

    wait_until(lambda: "m:7" in live.site.host.running, "version 7 is loaded")


def test_a_new_model_is_added_with_its_base_path_and_policy(live: AdminServer, capsys) -> None:
    """And its policy can be changed afterwards."""
    for version in (1, 2, 3):
        live.site.source.write("/n", version)
    done(live, capsys, "load", "n", "--base-path", "/n", "--policy", "latest:2")
    wait_until(lambda: live.site.host.running == {"m:2", "n:2", "n:3"}, "both versions answer")

    done(live, capsys, "load", "n", "--policy", "all")

    wait_until(lambda: live.site.host.running == {"m:2", "n:1", "n:2", "n:3"}, "all versions answer")


def test_a_version_that_a_new_model_does_not_have_is_reported(live: AdminServer, capsys) -> None:
    """At once, with those that it has."""
    live.site.source.write("/n", 1)

    assert run(live, "load", "n", "7", "--base-path", "/n") == 1
    assert "n: The version policy of servable n lists only 7; base path /n has 1" in capsys.readouterr().out


def test_a_base_path_that_is_missing_is_reported(live: AdminServer, capsys) -> None:
    """The model stays configured and waits."""
    assert run(live, "load", "n", "--base-path", "/missing") == 1
    assert "n: Could not find base path /missing" in capsys.readouterr().out


def test_a_change_that_fails_is_taken_back_where_that_is_wanted(live: AdminServer, capsys) -> None:
    """The version's own model is as it was; what others changed meanwhile stays."""
    live.site.host.broken = lambda _: True
    done(live, capsys, "label", "m", "other", "2")

    assert run(live, "load", "m", "1", "--undo", "--json") == 1

    answer = json.loads(capsys.readouterr().out)
    assert answer["what_stays"] == "The change was taken back: m: policy specific 1, 2 -> latest 1"
    assert in_force(live)["m"].policy == Latest()
    assert in_force(live)["m"].labels == {"stable": 2, "other": 2}


def test_a_model_that_was_added_in_vain_is_removed_again(live: AdminServer, capsys) -> None:
    """It was not there before."""
    assert run(live, "load", "n", "--base-path", "/missing", "--undo") == 1

    assert "The change was taken back: n: removed" in capsys.readouterr().out
    assert set(in_force(live)) == {"m"}


def test_whoever_waits_is_told_for_what(live: AdminServer, capsys) -> None:
    """On standard error, once for each reason; the answer is printed as without waiting."""
    live.site.host.finish_deploying = lambda _: None

    assert run(live, "load", "m", "1", "--timeout", "3") == 1

    printed = capsys.readouterr()
    assert printed.err == "m: version 2 is AVAILABLE; version 1 is LOADING\n"
    assert printed.out.startswith("m: policy latest 1 -> specific 1, 2\nnot done after 3 s: ")
    assert "\nThe change stays: m: policy latest 1 -> specific 1, 2; it may still come.\n" in printed.out


def test_a_load_that_takes_too_long_says_what_stays_also_with_undo(live: AdminServer, capsys) -> None:
    """The server goes on, so there is nothing to take back yet."""
    live.site.host.finish_deploying = lambda _: None

    assert run(live, "load", "m", "1", "--timeout", "0.1", "--undo", "--json") == 1

    answer = json.loads(capsys.readouterr().out)
    assert answer["what_stays"] == "The change stays: m: policy latest 1 -> specific 1, 2; it may still come."
    assert in_force(live)["m"].policy == Specific(frozenset({1, 2}))


@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize(("error", "status"), [(NoServer("gone"), 3), (KeyboardInterrupt(), 130)])
def test_a_wait_that_is_cut_short_says_what_stays(
    live: AdminServer,
    monkeypatch: pytest.MonkeyPatch,
    capsys,
    error: BaseException,
    status: int,
    *,
    as_json: bool,
) -> None:
    """By Ctrl-C, or by the end of the server that answers: the list may be in force all the same."""

    def cut_short(*_: object) -> None:
        raise error

    monkeypatch.setattr(AdminClient, "outcome", cut_short)

    assert run(live, "load", "m", "1", *(["--json"] if as_json else [])) == status

    printed = capsys.readouterr().out
    stays = "The change stays: m: policy latest 1 -> specific 1, 2; it may still come."
    assert (json.loads(printed)["what_stays"] if as_json else printed.splitlines()[-1]) == stays


def test_what_somebody_else_wrote_meanwhile_is_not_taken_back(
    live: AdminServer, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    """The model has their entry then, whichever version they wanted."""
    live.site.host.broken = lambda _: True
    own = AdminClient.outcome

    def outcome(*given: Any) -> Any:
        found = own(*given)
        monkeypatch.setattr(AdminClient, "outcome", own)
        assert run(live, "load", "m", "--policy", "all", "--no-wait") == 0
        return found

    monkeypatch.setattr(AdminClient, "outcome", outcome)

    assert run(live, "load", "m", "1", "--undo") == 1

    printed = capsys.readouterr().out
    assert "The change was not taken back: m was changed again meanwhile, and is left as it is." in printed
    assert in_force(live)["m"].policy == All()


def test_a_change_that_was_replaced_leaves_nothing_to_tell_or_to_take_back(
    live: AdminServer, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    """The model is gone again, and a --undo would bring it back against the other's will."""
    own = AdminClient.outcome

    def outcome(*given: Any) -> Any:
        monkeypatch.setattr(AdminClient, "outcome", own)
        done(live, capsys, "unload", "m")
        return own(*given)

    monkeypatch.setattr(AdminClient, "outcome", outcome)

    assert run(live, "load", "m", "1", "--undo") == 1

    printed = capsys.readouterr().out
    assert "the change was replaced by another one" in printed
    assert "stays" not in printed
    assert "m" not in in_force(live)
