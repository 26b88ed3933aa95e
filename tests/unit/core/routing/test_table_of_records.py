"""Tests of labels that move, and of what a table says of its models."""

from __future__ import annotations

from dataclasses import replace

import pytest

from core.config.model_config import ModelConfig, ModelResources, Rollout
from core.config.version_policy import Specific
from core.errors import LabelNotFound, ServableNotFound
from core.routing.table import RoutingTable
from core.routing.table_of_records import routing_table
from core.versions.lifecycle import State
from core.versions.record import VersionRecord
from core.versions.servable import ServableId
from core.versions.world import World

M = ModelConfig("m", "/m")


def table(before: RoutingTable, labels: dict[str, int], **states: State) -> RoutingTable:
    """Return the table for `v1=State.AVAILABLE` and labels, after another one."""
    records = {
        (servable := ServableId("m", int(key[1:]))): VersionRecord(servable, "/m", state)
        for key, state in states.items()
    }
    return routing_table(records, World(1.0, (replace(M, labels=labels),)), before)


EMPTY = RoutingTable(0)
ONE = table(EMPTY, {"stable": 1}, v1=State.AVAILABLE)


def test_a_new_label_is_pending_until_its_version_answers() -> None:
    """Then requests by it are told that nothing answers."""
    before = table(EMPTY, {"stable": 2}, v1=State.AVAILABLE, v2=State.LOADING)
    assert before.models["m"].pending_labels == {"stable": 2}
    with pytest.raises(ServableNotFound):
        before.resolve("m", label="stable")

    after = table(before, {"stable": 2}, v1=State.AVAILABLE, v2=State.AVAILABLE)

    assert after.resolve("m", label="stable").app == "m:2"


def test_a_label_that_moves_names_its_old_version_until_the_new_one_answers() -> None:
    """In no table does it name nothing."""
    loading = table(ONE, {"stable": 2}, v1=State.AVAILABLE, v2=State.LOADING)
    assert loading.resolve("m", label="stable").app == "m:1"
    assert loading.models["m"].pending_labels == {"stable": 2}

    both = table(loading, {"stable": 2}, v1=State.AVAILABLE, v2=State.AVAILABLE)

    assert both.resolve("m", label="stable").app == "m:2"
    assert both.models["m"].held == {}


def test_a_label_that_moves_twice_keeps_the_version_that_answers() -> None:
    """Whichever comes first, or back."""
    twice = table(table(ONE, {"stable": 2}, v1=State.AVAILABLE), {"stable": 3}, v1=State.AVAILABLE)
    assert twice.resolve("m", label="stable").app == "m:1"

    back = table(twice, {"stable": 1}, v1=State.AVAILABLE)

    assert (back.resolve("m", label="stable").app, back.models["m"].held) == ("m:1", {})


def test_a_held_version_that_ends_is_let_go() -> None:
    """Then the label is as pending as a new one."""
    held = table(ONE, {"stable": 2}, v1=State.AVAILABLE)

    with pytest.raises(ServableNotFound, match=r"Specific\(m, 2\)"):
        table(held, {"stable": 2}, v1=State.UNLOADING).resolve("m", label="stable")


def test_a_label_that_is_removed_names_nothing() -> None:
    """Labels of a new configuration replace the old ones as a whole."""
    with pytest.raises(LabelNotFound):
        table(ONE, {}, v1=State.AVAILABLE).resolve("m", label="stable")


def test_a_label_follows_its_version_only() -> None:
    """A version that ends takes its label along (TensorFlow Serving, version labels)."""
    with pytest.raises(ServableNotFound, match=r"Specific\(m, 1\)"):
        table(ONE, {"stable": 1}, v1=State.UNLOADING, v2=State.AVAILABLE).resolve("m", label="stable")


def test_a_table_tells_how_its_models_are_configured() -> None:
    """Whoever has the table can say so without the watcher; a removed model has no configuration."""
    resources = ModelResources(rollout=Rollout.RESOURCE_PRESERVING)
    config = ModelConfig("m", "/m", Specific(frozenset({1})), resources=resources)
    record = VersionRecord(ServableId("m", 1), "/m/1", State.AVAILABLE)

    model = routing_table({record.servable: record}, World(1.0, (config,)), EMPTY).models["m"]
    gone = routing_table({record.servable: record}, World(1.0, ()), EMPTY).models["m"]

    assert (model.base_path, model.policy, model.rollout) == ("/m", config.policy, Rollout.RESOURCE_PRESERVING)
    assert (gone.configured, gone.base_path, gone.policy) == (False, "", None)
    assert model.histories[1].state is State.AVAILABLE
