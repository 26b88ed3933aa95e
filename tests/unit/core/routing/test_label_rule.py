"""Tests of TensorFlow Serving's rule for labels: their version must answer, or the whole configuration is refused."""

from __future__ import annotations

import pytest

from core.config.model_config import ModelConfig
from core.errors import FailedPrecondition
from core.routing.label_rule import LabelRule
from core.routing.table import ModelRoutes, Route, RoutingTable
from core.versions.lifecycle import State, VersionStatus
from core.versions.servable import ServableId

REFUSED = "Request to assign label to version {} of model m, which is not currently available for inference"


def table(**labels: int) -> RoutingTable:
    """Make a table in which version 1 of model `m` answers, with these labels in force."""
    statuses = (VersionStatus(1, State.AVAILABLE),)
    return RoutingTable(1, {"m": ModelRoutes({1: Route.of(ServableId("m", 1))}, labels, statuses)})


def model(**labels: int) -> ModelConfig:
    return ModelConfig("m", "/m", labels=labels)


@pytest.mark.parametrize(
    ("rule", "before", "labels", "refused"),
    [
        pytest.param(LabelRule(is_strict=True), {}, {"a": 1}, [], id="available"),
        pytest.param(LabelRule(is_strict=True), {}, {"a": 2}, [2], id="case_J21"),
        pytest.param(LabelRule(is_strict=True), {"a": 2}, {"a": 2}, [2], id="unchanged_but_unavailable"),
        pytest.param(LabelRule(is_strict=True), {}, {"b": 3, "a": 2, "c": 1}, [2, 3], id="all_at_once"),
        pytest.param(LabelRule(is_strict=True, allows_new=True), {}, {"a": 2}, [], id="new_label_allowed"),
        pytest.param(LabelRule(is_strict=True, allows_new=True), {"a": 2}, {"a": 2}, [], id="unchanged_allowed"),
        pytest.param(LabelRule(is_strict=True, allows_new=True), {"a": 1}, {"a": 2}, [2], id="case_J23"),
        pytest.param(LabelRule(is_strict=True, allows_new=True), {"a": 2}, {"a": 1}, [], id="moved_to_available"),
        pytest.param(LabelRule(), {"a": 1}, {"a": 2}, [], id="case_J24"),
        pytest.param(LabelRule(allows_new=True), {"a": 1}, {"a": 2}, [], id="not_strict"),
    ],
)
def test_labels_of_versions_that_do_not_answer(rule, before, labels, refused) -> None:
    """Strict refuses them, the flag lets new ones pass, and our default (J24: upstream's force option) lets all pass."""
    if not refused:
        rule.check([model(**labels)], table(**before))
        return

    with pytest.raises(FailedPrecondition) as caught:
        rule.check([model(**labels)], table(**before))

    assert str(caught.value).split("\n") == [REFUSED.format(version) for version in refused]


def test_labels_of_a_model_that_nobody_knows_yet() -> None:
    """At the first start no version answers, so that strict refuses every label."""
    with pytest.raises(FailedPrecondition):
        LabelRule(is_strict=True).check([model(a=1)], RoutingTable(0))
    LabelRule(is_strict=True, allows_new=True).check([model(a=1)], RoutingTable(0))
