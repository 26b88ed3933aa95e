"""Tests of the sections that divide a model's traffic, as the settings file has them."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from core.config.yaml_settings import settings_and_problems
from core.delivery.plan import NO_DELIVERY, DeliverySettings, RolloutPlan, RolloutStep
from core.delivery.settings_reading import number_in, problems_beside
from core.delivery.split import WHOLE, MirrorSettings

CANARY = "canary: {steps: [{weight: 5, bake: 10m}]}"
PLAN = RolloutPlan((RolloutStep(weight=500, bake_s=600.0),))


def read(text: str, defaults: str = "") -> tuple[DeliverySettings, list[str]]:
    """Return what a model's entries say, and the mistakes."""
    shared = f"defaults:\n  {defaults}\n" if defaults else ""
    entries = "".join(f"    {line}\n" for line in text.splitlines())
    settings, problems = settings_and_problems(f"models:\n  m:\n    base_path: /m\n{entries}{shared}", "s.yaml")
    return settings.models["m"].delivery, [str(one) for one in problems]


def test_a_model_of_which_nothing_is_said_has_no_delivery() -> None:
    """It costs nothing."""
    assert read("") == (NO_DELIVERY, [])


def test_everything_that_fixes_traffic() -> None:
    """Shares are in basis points, by version number or label."""
    text = """traffic: {7: 90, blue: 9.5, "8": 0.5}
label_traffic: {beta: {7: 50, 8: 50}}
mirror: {version: 9, percent: 10, max_in_flight: 3}
stickiness: {header: X-User}"""

    assert read(text) == (
        DeliverySettings(
            traffic={"7": 9000, "blue": 950, "8": 50},
            label_traffic={"beta": {"7": 5000, "8": 5000}},
            mirror=MirrorSettings("9", 1000, 3),
            stickiness="x-user",
        ),
        [],
    )


def test_a_mirror_copies_everything_unless_it_says_less() -> None:
    """And eight at a time."""
    assert read("mirror: {version: shadow}") == (DeliverySettings(mirror=MirrorSettings("shadow", WHOLE, 8)), [])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("traffic: {7: 90, 8: 9}", "s.yaml:4: models.m.traffic: must add up to 100 percent; adds up to 99"),
        ("traffic: {}", "models.m.traffic: must have shares of 1 to 100 versions"),
        ("traffic: [7]", "models.m.traffic: must be a mapping"),
        ("traffic: {7: 50, 007: 50}", "models.m.traffic.007: is given twice: version 7"),
        ("traffic: {7: 50, 7: 50}", "models.m.traffic.7: is given twice"),
        ("traffic: {0: 100}", "models.m.traffic.0: must be a version number or a label"),
        ("traffic: {7: 110, 8: -10}", "models.m.traffic.7: must be at most 100; was 110"),
        ("traffic: {7: x}", "models.m.traffic.7: must be a number; was 'x'"),
        ("label_traffic: {beta: {7: 90}}", "models.m.label_traffic.beta: must add up to 100 percent"),
        ("label_traffic: 3", "models.m.label_traffic: must be a mapping"),
        ("mirror: {percent: 10}", "models.m.mirror: must have a version"),
        ("mirror: {version: 8, percent: 0}", "models.m.mirror.percent: must be from 0.01 to 100 percent; was 0"),
        ("mirror: {version: 8, max_in_flight: 0}", "models.m.mirror.max_in_flight: must be at least 1; was 0"),
        ("mirror: {version: -8}", "models.m.mirror.version: must be at least 1; was -8"),
        ("mirror: {version: ''}", "models.m.mirror.version: must be a version number or a label"),
        ("mirror: {version: '0'}", "models.m.mirror.version: must be a version number or a label"),
        ("mirror: {version: 8, to: 9}", "models.m.mirror.to: unknown setting"),
        (
            "traffic: {7: 90, 8: 10}\nmirror: {version: 8}",
            "s.yaml:5: models.m.mirror.version: has a share of the traffic, and cannot get copies of it, too",
        ),
        (f"{CANARY}\ntraffic: {{7: 100}}", "s.yaml:5: models.m.traffic: cannot be combined with canary"),
        (f"{CANARY}\nmirror: {{version: 8}}", "s.yaml:5: models.m.mirror: cannot be combined with canary"),
        ("stickiness: {header: x}", "s.yaml:4: models.m.stickiness: has no effect without canary, traffic or"),
        ("stickiness: {header: x}\nmirror: {version: 8}", "models.m.stickiness: has no effect without canary"),
        (
            "canary: {steps: [{weight: 5, bake: 10m}], stickiness: {header: x}}\nstickiness: {header: y}",
            "s.yaml:5: models.m.stickiness: differs from canary.stickiness",
        ),
        (
            "canary: {steps: [{weight: 5, bake: 10m}], labels: {canary: auto}}\nlabel_traffic: {canary: {7: 100}}",
            "s.yaml:5: models.m.label_traffic.canary: is moved by the rollout plan",
        ),
    ],
)
def test_a_mistake_has_its_line_and_field(text: str, expected: str) -> None:
    """And what is wrong in words."""
    assert expected in "\n".join(read(text)[1])


def test_copies_of_the_version_that_others_diverge_from_are_allowed() -> None:
    """They show how much answers of one version differ."""
    assert read("traffic: {8: 10, 7: 90}\nmirror: {version: 7}")[1] == []
    assert read("traffic: {green: 10, blue: 90}\nmirror: {version: blue}\nlabels: {green: 8, blue: 7}")[1] == []


def test_a_header_in_both_places_may_be_the_same() -> None:
    """A header of its own is that of the plan, too."""
    text = "canary: {steps: [{weight: 5, bake: 10m}], stickiness: {header: x}}\nstickiness: {header: X}"

    assert read(text) == (DeliverySettings(plan=PLAN, stickiness="x"), [])


@pytest.mark.parametrize(
    ("own", "expected"),
    [
        ("", DeliverySettings(plan=PLAN)),
        ("canary: false", NO_DELIVERY),
        ("traffic: {7: 100}", DeliverySettings(traffic={"7": WHOLE})),
        ("mirror: {version: 8}", DeliverySettings(mirror=MirrorSettings("8"))),
        ("canary: {steps: [{pause: {for: 1s}}]}", DeliverySettings(plan=RolloutPlan((RolloutStep(pause_s=1.0),)))),
        ("stickiness: {header: x}", DeliverySettings(plan=PLAN, stickiness="x")),
    ],
)
def test_all_models_may_have_one_plan_and_each_its_own(own: str, expected: DeliverySettings) -> None:
    """Fixed traffic takes the place of the shared plan."""
    assert read(own, CANARY) == (expected, [])


def test_a_header_may_be_that_of_all_models() -> None:
    """It has an effect where one divides its traffic."""
    assert read("traffic: {7: 100}", "stickiness: {header: x}")[0].stickiness == "x"
    assert read("", "stickiness: {header: x}") == (NO_DELIVERY, [])


@pytest.mark.parametrize("name", ["traffic", "label_traffic", "mirror"])
def test_what_names_versions_is_of_one_model(name: str) -> None:
    """Numbers of all models have nothing in common."""
    assert f"defaults.{name}: unknown setting" in "\n".join(read("", f"{name}: {{}}")[1])


@pytest.mark.parametrize(
    ("delivery", "served", "labels", "expected"),
    [
        (DeliverySettings(plan=PLAN), None, {}, ()),
        (DeliverySettings(plan=PLAN), frozenset({7, 8}), {}, ()),
        (
            DeliverySettings(plan=PLAN),
            frozenset({7}),
            {},
            (("canary", "needs two versions, and the version policy `specific` lists fewer"),),
        ),
        (
            DeliverySettings(plan=RolloutPlan((), labels={"stable": True})),
            None,
            {"stable": 7},
            (("canary", "label stable is declared with a version, and cannot be moved by the plan"),),
        ),
        (DeliverySettings(traffic={"7": WHOLE}), frozenset({7}), {}, ()),
        (
            DeliverySettings(traffic={"7": 9000, "8": 1000}),
            frozenset({7}),
            {},
            (("traffic", "names version 8, which the version policy does not serve"),),
        ),
        (
            DeliverySettings(traffic={"blue": WHOLE}),
            None,
            {},
            (("traffic", "blue is neither a version number nor a declared label"),),
        ),
        (DeliverySettings(traffic={"blue": WHOLE}), frozenset({7}), {"blue": 7}, ()),
        (
            DeliverySettings(mirror=MirrorSettings("blue")),
            frozenset({7}),
            {"blue": 8},
            (("mirror", "names version 8, which the version policy does not serve"),),
        ),
        (
            DeliverySettings(label_traffic={"beta": {"7": WHOLE}}),
            None,
            {"beta": 7},
            (("label_traffic", "label beta is declared with a version, and cannot have shares, too"),),
        ),
    ],
)
def test_what_contradicts_the_rest_of_a_model_is_a_mistake(
    delivery: DeliverySettings,
    served: frozenset[int] | None,
    labels: Mapping[str, int],
    expected: tuple[tuple[str, str], ...],
) -> None:
    """A setting that can have no effect is refused (kserve #5335)."""
    assert problems_beside(delivery, served=served, labels=labels, unloads_first=False) == expected


def test_a_plan_needs_room_for_two_versions() -> None:
    """The order `resource_preserving` unloads one before it loads the other."""
    found = problems_beside(DeliverySettings(plan=PLAN), served=None, labels={}, unloads_first=True)

    assert [field for field, _ in found] == ["canary"]
    assert "resource_preserving" in found[0][1]


@pytest.mark.parametrize(("text", "number"), [("7", 7), ("007", 7), ("seven", None), ("٣", None), ("9" * 30, None)])
def test_a_text_is_a_version_number_or_a_label(text: str, number: int | None) -> None:
    """Digits of other scripts are not numbers here."""
    assert number_in(text) == number
