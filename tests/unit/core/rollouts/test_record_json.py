"""Tests of records as JSON."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest

from core.delivery.analysis import AnalysisState
from core.delivery.plan import RolloutStep
from core.delivery.rollout_record import NO_RECORD, Happening, Rejection, RolloutPhase, RolloutRecord
from core.delivery.split import Division, MirrorOrder, MirrorSettings
from core.errors import ConfigError
from core.rollouts.record_json import record_of_json, record_to_json
from tests.support.rollout_scene import GOOD, PLAN, Scene

FULL = replace(
    NO_RECORD,
    stable=7,
    canary=8,
    phase=RolloutPhase.PAUSED,
    plan=replace(PLAN, steps=(RolloutStep(pause_s=math.inf), RolloutStep(weight=500, gate="http://gate"))),
    analysis=AnalysisState(sums={"server_errors": (1.5, -math.inf)}),
    rejected={6: Rejection("«bad»", "f6", 3.5)},
    division=Division(((7, 9500), (8, 500)), 4, "salt", "x-user", MirrorOrder(8, 100), {"beta": ((7, 10_000),)}),
    fixed_mirror=MirrorOrder(7, 100),
    mirrored_over=MirrorSettings("7"),
    happenings=(Happening(1.0, "rollout_step", 8, "step 1"),),
    labels={"stable": 7},
)


@pytest.mark.parametrize("record", [NO_RECORD, FULL])
def test_a_record_is_the_same_after_json(record: RolloutRecord) -> None:
    """Every field, also infinite ones."""
    assert record_of_json(record_to_json(record)) == record


@pytest.mark.parametrize("phase", RolloutPhase)
def test_a_record_of_every_phase_is_valid(phase: RolloutPhase) -> None:
    """What the state machine makes can be read again."""
    scene = Scene()
    scene.to(phase)
    scene.look(1.0, GOOD)

    assert record_of_json(record_to_json(scene.record)) == scene.record


def test_a_record_is_json_for_everybody() -> None:
    """Infinity is a text, because other readers know no number for it."""

    def refuse(word: str) -> None:
        raise AssertionError(word)

    members = json.loads(record_to_json(FULL), parse_constant=refuse)

    assert members["plan"]["steps"][0]["pause_s"] == "inf"


def test_a_text_that_cannot_be_written_does_not_lose_the_record() -> None:
    """Errors of other software may hold halves of characters."""
    record = replace(NO_RECORD, happenings=(Happening(1.0, "rollout_step", 8, "a\ud800b"),))

    assert record_of_json(record_to_json(record)).happenings[0].text == "a?b"


def test_members_of_a_newer_server_are_skipped_and_missing_ones_have_their_defaults() -> None:
    """A record outlives an upgrade and a way back."""
    members = json.loads(record_to_json(FULL))
    members["invented"] = {"much": "later"}
    members["plan"]["invented"] = 1
    del members["labels"]

    assert record_of_json(json.dumps(members)) == replace(FULL, labels={})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "file.json: not valid JSON"),
        ("{", "file.json: not valid JSON"),
        ("[" * 100_000, "file.json: not valid JSON"),
        ("[]", "file.json: Input should be a dictionary"),
        ('{"stable": "seven"}', "file.json: stable: Input should be a valid integer"),
        ('{"phase": "dancing"}', "file.json: phase: Input should be 'idle'"),
        ('{"rejected": {"x": {"reason": ""}}}', "file.json: rejected.x"),
        ('{"baked_s": NaN}', "file.json: baked_s: must be a time in seconds"),
        ('{"lost_s": -1}', "file.json: lost_s: must be a time in seconds"),
        ('{"canary": 8}', "file.json: canary: does not fit to phase idle; was 8"),
        ('{"division": {"weights": []}}', "file.json: division: must have shares that add up to 10000"),
        ('{"division": {"weights": [[7, 20000], [8, -10000]]}}', "file.json: division: must have shares"),
        ('{"phase": "step", "stable": 7, "canary": 8}', "file.json: plan: is missing"),
        ('{"phase": "promoted"}', "file.json: previous: must be a version"),
        (
            '{"phase": "step", "stable": 7, "canary": 8, "step": 1, "plan": {"steps": [{"weight": 100}]}}',
            "file.json: step: must be one of the 1 steps of the plan; was 1",
        ),
    ],
)
def test_what_is_not_a_record_is_refused_with_the_field(text: str, message: str) -> None:
    """A damaged file must not lead the rollout anywhere."""
    with pytest.raises(ConfigError) as refused:
        record_of_json(text, "file.json")

    assert message in str(refused.value)
