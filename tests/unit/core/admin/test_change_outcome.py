"""Outcomes of changes in status documents."""

from __future__ import annotations

from typing import Any

import pytest

from core.admin.change_outcome import ChangeOutcome, label_removed, labelled, loaded, unfinished, unloaded

ERROR = {"code": "NOT_FOUND", "message": "no SavedModel there"}


def version(number: int, state: str = "AVAILABLE", **changes: Any) -> dict[str, Any]:
    given = {
        "version": str(number),
        "state": state,
        "aspired": True,
        "load_s": None,
        "error": None,
        "next_attempt": None,
    }
    return given | changes


def document(*versions: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Make the part of a document about model `m`."""
    model = {
        "name": "m",
        "configured": True,
        "base_path": "/m",
        "problem": None,
        "labels": [],
        "waiting": [],
        "versions": list(versions),
    }
    return {"models": [model | changes]}


def bad(text: str) -> ChangeOutcome:
    return ChangeOutcome(is_good=False, text=text)


def good(text: str) -> ChangeOutcome:
    return ChangeOutcome(is_good=True, text=text)


OVERTAKEN = ChangeOutcome(
    is_good=False,
    text="m: the change was replaced by another one, or by a configuration file that changed",
    is_overtaken=True,
)


@pytest.mark.parametrize(
    ("number", "shown", "expected"),
    [
        pytest.param(2, document(version(2, load_s=4.21)), good("m version 2: AVAILABLE after 4.2 s"), id="answers"),
        pytest.param(2, document(version(2)), good("m version 2: AVAILABLE"), id="answers_since_long"),
        pytest.param(2, document(version(2, "LOADING"), version(1)), None, id="loads"),
        pytest.param(2, document(version(2, aspired=False)), None, id="answers_but_retires"),
        pytest.param(None, document(version(2, "LOADING"), version(1)), good("m version 1: AVAILABLE"), id="any_answers"),
        pytest.param(None, document(), None, id="nothing_seen_yet"),
        pytest.param(2, {"models": []}, OVERTAKEN, id="model_gone_again"),
        pytest.param(2, document(version(2), configured=False), OVERTAKEN, id="model_removed_again"),
        pytest.param(
            2, document(version(2, "END", error=ERROR)),
            bad("m version 2: could not be loaded: NOT_FOUND: no SavedModel there"), id="failed",
        ),
        pytest.param(
            2, document(version(2, "LOADING", error=ERROR, next_attempt="T")),
            bad("m version 2: could not be loaded: NOT_FOUND: no SavedModel there; tried again at T"), id="failed_once",
        ),
        pytest.param(2, document(version(2, "END", error=ERROR, aspired=False)), None, id="failed_when_it_was_wanted_before"),
        pytest.param(2, document(problem="Could not find base path"), bad("m: Could not find base path"), id="no_storage"),
        pytest.param(
            2, document(version(1)), bad("m version 2: not found below /m; it is loaded when it appears there"), id="absent",
        ),
        pytest.param(2, document(version(1), waiting=[{"version": "2", "reason": "waits"}]), None, id="half_copied"),
        pytest.param(2, document(), None, id="storage_not_looked_at"),
    ],
)  # fmt: skip
def test_a_load_ends_with_an_answer_a_failure_or_nothing_to_load(number, shown, expected) -> None:
    """The operator need not wait for attempts that follow."""
    assert loaded("m", number)(shown) == expected


@pytest.mark.parametrize(
    ("number", "shown", "expected"),
    [
        (1, document(version(1, "UNLOADING"), version(2)), None),
        (1, document(version(1, "END"), version(2)), good("m version 1: unloaded")),
        (1, document(version(2)), good("m version 1: unloaded")),
        (None, document(version(1, "END"), version(2)), None),
        (None, document(version(1, "END")), good("m: unloaded")),
        (None, {"models": []}, good("m: unloaded")),
    ],
)
def test_an_unload_ends_when_the_version_has(number, shown, expected) -> None:
    """All of them, where the model goes."""
    assert unloaded("m", number)(shown) == expected


def one_label(*, pending: bool, meanwhile: str | None) -> dict[str, Any]:
    return document(labels=[{"name": "a", "version": "2", "pending": pending, "meanwhile": meanwhile}])


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (one_label(pending=False, meanwhile=None), good("m: label a names version 2")),
        (
            one_label(pending=True, meanwhile="1"),
            good("m: label a waits for version 2; until then it names version 1"),
        ),
        (
            one_label(pending=True, meanwhile=None),
            good("m: label a waits for version 2; until then requests by it are not found"),
        ),
        (document(), OVERTAKEN),
        ({"models": []}, OVERTAKEN),
    ],
)
def test_a_label_says_at_once_what_it_names(shown, expected) -> None:
    """A pending label is no failure."""
    assert labelled("m", "a")(shown) == expected


def test_a_removed_label_is_gone() -> None:
    """Until the table shows it, there is no outcome."""
    assert label_removed("m", "a")(document()) == good("m: label a is removed")
    assert label_removed("m", "a")({"models": []}) == good("m: label a is removed")
    assert label_removed("m", "a")(one_label(pending=False, meanwhile=None)) is None


def test_what_is_not_done_in_time_says_what_it_waits_for() -> None:
    """The command gives up; the server does not."""
    waiting = [{"version": "3", "reason": "waits for saved_model.pb"}]

    assert unfinished({"models": []}, "m") == "m: the server does not know it yet"
    assert unfinished(document(), "m") == "m: nothing was found yet"
    assert unfinished(document(version(2, "LOADING"), version(1, "END"), waiting=waiting), "m") == (
        "m: version 2 is LOADING; version 3 waits for saved_model.pb"
    )
    failed = version(2, "LOADING", error=ERROR, failed_attempts=2, next_attempt="12:00")
    assert unfinished(document(failed), "m") == (
        "m: version 2 is LOADING after 2 failed attempts, tried again at 12:00: no SavedModel there"
    )
