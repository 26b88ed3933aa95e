"""Which versions are hosted, on which node, and how hosts show them."""

from __future__ import annotations

import pytest

from core.config.model_config import Autoscaling, ModelResources, Placement
from core.errors import ConfigError
from core.versions.hosted import (
    FIRST_PAUSE_S,
    LONGEST_PAUSE_S,
    UNDECIDED,
    FailedNodes,
    Placed,
    host_app,
    is_hosted,
    node_for,
    node_of_host,
    node_with,
    observed_versions,
    to_be_loaded,
    to_be_unloaded,
    usable_nodes,
)
from core.versions.servable import ServableId, app_name
from core.versions.world import AppObservation, Condition

RUNNING = AppObservation(Condition.RUNNING)
HOSTED = ModelResources(placement=Placement.HOSTED)


@pytest.mark.parametrize(
    ("resources", "path", "flag", "light", "hosted"),
    [
        (ModelResources(), "/m/1", False, True, False),
        (ModelResources(), "/m/1", True, True, True),
        (ModelResources(), "file:///m/1", True, True, True),
        (ModelResources(), "/m/1", True, False, False),
        (ModelResources(), "s3://b/m/1", True, True, False),
        (ModelResources(placement=Placement.OWN), "/m/1", True, True, False),
        (ModelResources(num_cpus=1), "/m/1", True, True, False),
        (ModelResources(autoscaling=Autoscaling()), "/m/1", True, True, False),
        (HOSTED, "/m/1", False, False, True),
        (HOSTED, "s3://b/m/1", False, False, True),
    ],
)
def test_a_version_is_hosted_if_its_model_says_so_or_it_is_light_and_free(
    resources: ModelResources, path: str, *, flag: bool, light: bool, hosted: bool
) -> None:
    """The flag hosts light versions of local paths, of models that name no placement and no resources."""
    assert is_hosted(resources, path, hosts_light=flag, is_light=lambda _: light) is hosted


def test_a_hosted_version_with_resources_of_its_own_is_refused() -> None:
    """With all that it cannot have; a configuration file says so before."""
    with pytest.raises(ConfigError, match="a hosted version cannot have num_cpus, num_gpus"):
        is_hosted(
            ModelResources(placement=Placement.HOSTED, num_cpus=1, num_gpus=1),
            "/m/1",
            hosts_light=False,
            is_light=lambda _: True,
        )


@pytest.mark.parametrize("name", ["m", "host@n", "host"])
def test_no_application_of_a_version_is_taken_for_a_host(name: str) -> None:
    """Whatever a model is called."""
    assert node_of_host(app_name(ServableId(name, 1))) == ""
    assert node_of_host("router") == ""
    assert node_of_host(host_app("abc")) == "abc"


def test_the_node_with_the_fewest_versions_gets_the_next_one() -> None:
    """Whether they run there already, or are only placed there."""
    answers = {"a": {"m:1": RUNNING}, "b": {}, "c": {}}

    assert node_for({"a", "b", "c"}, answers, {"n:1": Placed("b")}) == "c"


def test_a_host_that_is_there_is_filled_before_another_is_started() -> None:
    """As long as no node has fewer versions; hosts cost memory too."""
    assert node_for({"a", "b"}, {"b": {}}, {}) == "b"
    assert node_for({"a", "b"}, {"b": {"m:1": RUNNING}}, {}) == "a"
    assert node_for({"b", "a"}, {}, {}) == "a"


def test_a_placed_version_is_deployed_until_its_host_shows_it() -> None:
    """Also while the host is replaced and has lost all: calls wait for it."""
    placed = {"m:1": Placed("a")}

    for answers in ({"a": None}, {"a": {}}, {}):
        assert observed_versions(answers, placed) == {"m:1": AppObservation(Condition.DEPLOYING, host="host@a")}
    shown = observed_versions({"a": {"m:1": RUNNING}}, placed)
    assert shown == {"m:1": AppObservation(Condition.RUNNING, host="host@a")}


def test_a_refused_version_has_failed() -> None:
    """It is not loaded again before it was deleted, and deployed anew."""
    placed = {"m:1": Placed("a", "no")}

    assert observed_versions({"a": {}}, placed)["m:1"] == AppObservation(Condition.FAILED, "no", host="host@a")
    assert list(to_be_loaded({"a": {}}, placed)) == []


def test_only_a_host_that_has_answered_is_told_to_load() -> None:
    """A request to one that starts would only wait there."""
    placed = {"m:1": Placed("a"), "n:1": Placed("a")}

    assert list(to_be_loaded({"a": None}, placed)) == []
    assert list(to_be_loaded({"a": {"n:1": RUNNING}}, placed)) == ["m:1"]


def test_a_version_with_an_application_of_its_own_is_unloaded_from_hosts() -> None:
    """Two processes of one version may differ, and cost twice."""
    answers = {"a": {"m:1": RUNNING, "n:1": RUNNING}}

    assert list(to_be_unloaded(answers, {}, own={"m:1"})) == [("a", "m:1")]


def test_of_two_hosts_with_a_version_the_one_where_it_was_placed_keeps_it() -> None:
    """Without a placement, the first by name, so that every watcher chooses the same."""
    answers = {"a": {"m:1": RUNNING}, "b": {"m:1": RUNNING}}

    assert list(to_be_unloaded(answers, {"m:1": Placed("b")}, own=())) == [("a", "m:1")]
    assert list(to_be_unloaded(answers, {}, own=())) == [("b", "m:1")]


def test_a_copy_that_ends_is_not_told_again() -> None:
    """It takes as long as its calls do."""
    answers = {"a": {"m:1": RUNNING}, "b": {"m:1": AppObservation(Condition.DELETING)}}

    assert list(to_be_unloaded(answers, {}, own=())) == []


def test_what_a_host_is_assumed_to_have_is_deployed_unless_more_is_known() -> None:
    """Of a version that some host shows, or that is placed, more is known."""
    answers = {"a": None, "b": {"m:1": RUNNING}}

    shown = observed_versions(answers, {"n:1": Placed("b")}, {"m:1": "a", "n:1": "a", "o:1": "a"})

    assert {app: (one.condition, one.host) for app, one in shown.items()} == {
        "m:1": (Condition.RUNNING, "host@b"),
        "n:1": (Condition.DEPLOYING, "host@b"),
        "o:1": (Condition.DEPLOYING, "host@a"),
    }


def test_a_version_whose_node_is_not_decided_is_deployed_and_hides_no_copy() -> None:
    """And the copy is not unloaded."""
    placed = {"m:1": Placed(UNDECIDED), "n:1": Placed(UNDECIDED)}
    answers = {"a": {"m:1": RUNNING}, "b": None}

    shown = observed_versions(answers, placed)

    assert (shown["m:1"].condition, shown["m:1"].host) == (Condition.RUNNING, "host@a")
    assert shown["n:1"].condition is Condition.DEPLOYING
    assert list(to_be_unloaded(answers, placed, own=())) == []
    assert list(to_be_loaded(answers, placed)) == []


def test_the_host_that_has_a_version_is_known_by_its_answer() -> None:
    """Of several the first, as everywhere."""
    assert node_with("m:1", {"b": {"m:1": RUNNING}, "a": {"m:1": RUNNING}, "c": None}) == "a"
    assert node_with("n:1", {"a": {"m:1": RUNNING}, "c": None}) == ""


@pytest.mark.parametrize(
    ("cpus", "left_out", "usable"),
    [
        ({"a": 0.0, "b": 2.0, "c": 1.0}, {}, {"b", "c"}),
        ({"a": 0.0, "b": 0.0}, {}, {"a", "b"}),
        ({"a": 0.0, "b": 2.0, "c": 1.0}, {"b"}, {"c"}),
        ({"a": 2.0, "b": 2.0}, {"a", "b"}, {"a", "b"}),
    ],
)
def test_versions_are_hosted_where_there_are_cpus_and_the_host_did_not_fail(
    cpus: dict[str, float], left_out: set[str], usable: set[str]
) -> None:
    """As long as there is such a node."""
    assert usable_nodes(cpus, frozenset(left_out)) == usable


def test_a_node_whose_host_fails_again_is_left_out_for_twice_as_long() -> None:
    """Up to a longest time; once its host has answered, the next failure is the first one."""
    nodes, now_s = FailedNodes(), 0.0
    pauses = []
    for _ in range(8):
        nodes.failed("a", now_s)
        began_s = now_s
        while nodes.left_out(now_s):
            assert nodes.left_out(now_s) == {"a"}
            now_s += FIRST_PAUSE_S
        pauses.append(now_s - began_s)

    assert pauses == [60.0, 120.0, 240.0, 480.0, 960.0, 1800.0, 1800.0, 1800.0]
    assert (FIRST_PAUSE_S, LONGEST_PAUSE_S) == (60.0, 1800.0)
    nodes.failed("a", now_s)
    nodes.works("a")
    assert not nodes.left_out(now_s)
    nodes.failed("a", now_s)
    assert not nodes.left_out(now_s + FIRST_PAUSE_S)
