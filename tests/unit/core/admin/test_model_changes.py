"""Tests of what the commands make of a list of models."""

from __future__ import annotations

from dataclasses import replace

import pytest

from core.admin.model_changes import (
    KnownModels,
    differences,
    expect_same_platforms,
    label,
    load_model,
    load_version,
    policy_text,
    remove_label,
    restored,
    rollout_conflicts,
    unload_model,
    unload_version,
)
from core.config.extensions import ONNX, TENSORFLOW
from core.config.model_config import (
    Autoscaling,
    BatchingParameters,
    LoggingConfig,
    ModelConfig,
    ModelResources,
    Placement,
)
from core.config.version_policy import All, Latest, Specific
from core.delivery.rollout_record import RolloutPhase, RolloutRecord
from core.errors import FailedPrecondition, InvalidArgument, NotFound

M = ModelConfig("m", "/m", labels={"stable": 1})
N = ModelConfig("n", "/n")


def specific(*versions: int) -> Specific:
    return Specific(frozenset(versions))


def known(*models: ModelConfig, wanted: tuple[int, ...] = (1,), files: tuple[ModelConfig, ...] = ()) -> KnownModels:
    return KnownModels(models or (M, N), files, {"m": frozenset(wanted)})


def only(models: tuple[ModelConfig, ...]) -> ModelConfig:
    """Return model `m` of a list in which nothing else may have changed."""
    assert models[1:] == (N,)
    return models[0]


def test_a_label_moves_or_is_added() -> None:
    """The others stay."""
    assert only(label("m", "stable", 2)(known())).labels == {"stable": 2}
    assert only(label("m", "canary", 2)(known())).labels == {"stable": 1, "canary": 2}


def test_a_label_that_is_where_it_should_be_changes_nothing() -> None:
    """The caller sees an equal list, and asks for nothing."""
    assert label("m", "stable", 1)(known()) == (M, N)


def test_a_label_is_removed_and_one_that_is_not_there_is_named() -> None:
    """A misspelt label must not be taken for one that was removed."""
    assert only(remove_label("m", "stable")(known())).labels == {}
    with pytest.raises(NotFound, match=r"Model m has no label stabel. Labels: stable."):
        remove_label("m", "stabel")(known())
    with pytest.raises(NotFound, match=r"Labels: none."):
        remove_label("n", "x")(known())


@pytest.mark.parametrize(
    "change", [label("x", "a", 1), remove_label("x", "a"), unload_model("x"), unload_version("x", 1)]
)
def test_an_unknown_model_is_named_with_those_that_are_there(change) -> None:
    """So that a misspelt name is seen at once."""
    with pytest.raises(NotFound, match=r"There is no model x. Models: m, n."):
        change(known())


@pytest.mark.parametrize(
    ("policy", "wanted", "expected"),
    [
        pytest.param(Latest(), (1,), specific(1, 2), id="latest_becomes_specific"),
        pytest.param(Latest(2), (1, 2), Latest(2), id="latest_wants_it_already"),
        pytest.param(Latest(), (), specific(2), id="nothing_is_served_yet"),
        pytest.param(All(), (1,), All(), id="all_wants_it_as_soon_as_it_is_there"),
        pytest.param(specific(1), (1,), specific(1, 2), id="specific_grows"),
        pytest.param(specific(1, 2), (1,), specific(1, 2), id="specific_lists_it"),
        pytest.param(specific(1, 7), (1,), specific(1, 2, 7), id="listed_but_missing_stays_listed"),
    ],
)
def test_a_version_is_loaded_beside_those_that_are_served(policy, wanted, expected) -> None:
    """None of them goes."""
    start = known(replace(M, policy=policy), N, wanted=wanted)

    assert only(load_version("m", 2)(start)).policy == expected


def test_a_version_of_a_new_model_is_loaded_from_a_base_path_or_as_the_files_have_it() -> None:
    """Alone; otherwise nobody knows where it lies."""
    added = load_version("new", 4, "/new")(known())
    assert added == (M, N, ModelConfig("new", "/new", specific(4)))
    listed = ModelConfig("new", "/listed", labels={"a": 4})
    assert load_version("new", 4)(known(files=(listed,)))[-1] == replace(listed, policy=specific(4))
    with pytest.raises(InvalidArgument, match="--base-path"):
        load_version("new", 4)(known())


def test_a_model_is_added_or_changed() -> None:
    """One that was unloaded comes back as the files have it."""
    assert load_model("new", "/new")(known())[-1] == ModelConfig("new", "/new")
    assert load_model("new", "/new", All())(known())[-1].policy == All()
    assert load_model("m")(known(N, files=(M,))) == (N, M)
    assert load_model("m")(known()) == (M, N)
    assert only(load_model("m", "/other")(known())) == replace(M, base_path="/other")
    assert only(load_model("m", policy=Latest(2))(known())) == replace(M, policy=Latest(2))
    with pytest.raises(InvalidArgument, match="is not in any configuration file"):
        load_model("new")(known())


@pytest.mark.parametrize(
    ("policy", "wanted", "expected"),
    [
        pytest.param(Latest(2), (1, 2), specific(2), id="latest_becomes_specific"),
        pytest.param(All(), (1, 2, 3), specific(2, 3), id="all_becomes_specific"),
        pytest.param(specific(1, 2), (1, 2), specific(2), id="specific_shrinks"),
        pytest.param(specific(1, 7), (7,), specific(7), id="listed_but_not_served"),
    ],
)
def test_a_version_is_taken_out_and_the_others_stay(policy, wanted, expected) -> None:
    """Also those that only wait for their directory."""
    start = known(replace(M, policy=policy), N, wanted=wanted)

    assert only(unload_version("m", 1)(start)).policy == expected


def test_the_last_version_is_taken_by_force_only() -> None:
    """Otherwise a slip would take the model out of service."""
    with pytest.raises(FailedPrecondition, match="Version 1 is the only one that model m serves"):
        unload_version("m", 1)(known())

    assert only(unload_version("m", 1, force=True)(known())).policy == specific()


def test_a_version_that_is_not_served_is_not_taken_out() -> None:
    """The operator meant another one."""
    with pytest.raises(NotFound, match=r"Model m does not serve version 9. Versions: 1."):
        unload_version("m", 9)(known())
    with pytest.raises(NotFound, match=r"Versions: none."):
        unload_version("n", 9)(known())


def test_a_model_is_removed_whole() -> None:
    """With its labels."""
    assert unload_model("m")(known()) == (N,)


def test_differences_are_said_in_a_line_each() -> None:
    """The operator sees what was done, and how to take it back."""
    after = (
        replace(M, base_path="/z", policy=specific(1, 2), labels={"canary": 2}),
        ModelConfig("new", "/new", specific()),
    )

    assert sorted(differences((M, N), after)) == [
        "m: base path /m -> /z",
        "m: label canary none -> 2",
        "m: label stable 1 -> none",
        "m: policy latest 1 -> specific 1, 2",
        "n: removed",
        "new: added, base path /new, policy specific none",
    ]
    assert list(differences((M,), (M,))) == []


def test_every_setting_that_differs_is_said() -> None:
    """An audit log misses nothing; what may be a secret is only named."""
    before = replace(M, resources=ModelResources(env_vars={"TOKEN": "a", "KEPT": "1"}), op_libraries=("/ops.so",))
    autoscaling = Autoscaling(max_replicas=3)
    after = replace(
        before,
        resources=replace(
            before.resources,
            num_gpus=0.5,
            env_vars={"TOKEN": "b", "KEPT": "1"},
            placement=Placement.HOSTED,
            autoscaling=autoscaling,
        ),
        platform=ONNX,
        op_libraries=(),
        hooks="a:B",
        batching=BatchingParameters(max_batch_size=8),
    )

    assert sorted(differences((before,), (after,))) == [
        "m: batching none -> set",
        "m: hooks none -> a:B",
        "m: op_libraries /ops.so -> none",
        "m: platform any -> onnx",
        "m: resources.autoscaling none -> set",
        "m: resources.env_vars: TOKEN changed",
        "m: resources.num_gpus none -> 0.5",
        "m: resources.placement none -> hosted",
    ]
    scaled = replace(after, resources=replace(after.resources, autoscaling=replace(autoscaling, max_replicas=4)))
    assert list(differences((after,), (scaled,))) == ["m: resources.autoscaling.max_replicas 3 -> 4"]


def test_policies_in_words() -> None:
    """A removed model has none."""
    assert [policy_text(one) for one in (All(), Latest(3), None)] == ["all", "latest 3", ""]


TENSORFLOW_M, ONNX_M = replace(M, platform=TENSORFLOW), replace(M, platform=ONNX)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ((TENSORFLOW_M,), (ONNX_M,)),
        ((ONNX_M, N), (N, TENSORFLOW_M)),
        ((TENSORFLOW_M,), (replace(ONNX_M, base_path="/elsewhere"),)),
    ],
)
def test_the_platform_of_a_model_that_stays_cannot_change(before, after) -> None:
    """In TensorFlow Serving's words."""
    was, becomes = (next(one for one in models if one.name == "m").platform.name for models in (before, after))

    with pytest.raises(FailedPrecondition) as refused:
        expect_same_platforms(before, after)

    assert str(refused.value) == (
        f"Illegal to change a model's platform. For model m platform was {was} and new platform requested is {becomes}"
    )


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ((), (ONNX_M,)),
        ((TENSORFLOW_M,), (TENSORFLOW_M, replace(N, platform=ONNX))),
        ((TENSORFLOW_M,), ()),
        ((M,), (ONNX_M,)),
        ((ONNX_M,), (M,)),
        ((ONNX_M,), (replace(M, name="other"),)),
    ],
)
def test_models_that_come_and_go_and_undeclared_ones_may_have_any(before, after) -> None:
    """A model whose versions show what they are may be declared, and the other way round."""
    expect_same_platforms(before, after)


WRITTEN = replace(N, policy=Specific(frozenset({1, 2})))


@pytest.mark.parametrize(
    "present",
    [
        WRITTEN,
        replace(WRITTEN, platform=ONNX),
        replace(WRITTEN, hooks="m:H", logging=(LoggingConfig(),)),
    ],
)
@pytest.mark.parametrize("before", [None, N])
def test_a_change_is_taken_back_from_the_entry_that_it_wrote(before: ModelConfig | None, present: ModelConfig) -> None:
    """To which the settings file may have added what the change left unsaid."""
    back = restored(before, WRITTEN)(KnownModels((M, present)))

    assert back == ((M,) if before is None else (M, before))


@pytest.mark.parametrize(
    "present",
    [
        None,
        replace(WRITTEN, labels={"other": 1}),
        replace(WRITTEN, policy=Specific(frozenset({1, 2, 3}))),
        replace(WRITTEN, base_path="/other"),
    ],
)
@pytest.mark.parametrize("before", [None, N])
def test_a_change_is_not_taken_back_from_what_others_wrote(
    before: ModelConfig | None, present: ModelConfig | None
) -> None:
    """Nor is a model brought back that they removed."""
    models = (M,) if present is None else (M, present)

    assert restored(before, WRITTEN)(KnownModels(models)) == models


RUNS = RolloutRecord(stable=7, canary=8, phase=RolloutPhase.STEP)
NAMED = replace(N, labels={"live": 7, "old": 3})


@pytest.mark.parametrize(
    ("change", "touched"),
    [
        ({"labels": {"live": 8, "old": 3}}, True),
        ({"labels": {"old": 3}}, True),
        ({"labels": {"live": 7, "old": 3, "next": 8}}, True),
        ({"labels": {"live": 7, "old": 4}}, False),
        ({"labels": {"live": 7}}, False),
        ({"policy": Specific(frozenset({7}))}, True),
        ({"policy": Specific(frozenset({7, 8}))}, False),
        ({"hooks": "m:H"}, False),
    ],
    ids=["moved", "removed", "added", "of others", "of others removed", "unloaded", "both listed", "something else"],
)
def test_a_change_that_touches_a_running_rollout_is_found(change, touched) -> None:
    """Labels that come, move or go, and versions that a policy lists no more."""
    after = (M, replace(NAMED, **change))

    found = rollout_conflicts((M, NAMED), after, {NAMED.name: RUNS})

    assert found.keys() == ({NAMED.name} if touched else set())
    assert rollout_conflicts((M, NAMED), after, {NAMED.name: RolloutRecord(stable=7)}) == {}
    assert rollout_conflicts((M, NAMED), after, {}) == {}


def test_a_model_that_goes_takes_its_rollout_with_it() -> None:
    """And one that comes has none."""
    assert rollout_conflicts((M, NAMED), (M,), {NAMED.name: RUNS}) == {}
    assert rollout_conflicts((M,), (M, NAMED), {NAMED.name: RUNS}) == {}
