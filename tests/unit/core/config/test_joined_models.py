"""Models of models.config joined with those of our YAML file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from core.config.extensions import ANY, ONNX, TENSORFLOW, Extensions
from core.config.joined_models import joined, placed, unused_models
from core.config.model_config import BatchingParameters, LoggingConfig, ModelConfig, ModelResources
from core.config.models_text import model_configs, to_text
from core.config.version_policy import All, Latest, RegisteredPolicy, Specific, Unsaid, VersionPolicy
from core.config.yaml_settings import YamlSettings, read_yaml_settings
from core.errors import ConfigError

LISTED = ModelConfig("m", "/m")


def test_files_that_contradict_each_other_are_refused() -> None:
    """What both files say must be the same, or be said once."""
    listed = ModelConfig("m", "/m", Specific(frozenset({1})), {"stable": 1}, logging=(LoggingConfig(),))
    own = read_yaml_settings(
        "models:\n m:\n  base_path: /n\n  version_policy: all\n  labels: {stable: 2}\n  logging: {attributes: 1}",
        "s.yaml",
    )
    with pytest.raises(ConfigError) as raised:
        joined([listed], own)

    assert [str(problem) for problem in raised.value.problems] == [
        f"s.yaml:{line}: models.m.{name}: differs from models.config; set it in only one of the two"
        for line, name in ((3, "base_path"), (4, "version_policy"), (5, "labels"), (6, "logging"))
    ]


def test_what_models_config_leaves_open_our_file_may_say() -> None:
    """The default policy and no labels count as nothing said; the same words twice are no conflict."""
    own = read_yaml_settings("models: {m: {base_path: /m, version_policy: all, labels: {a: 1}, logging: {}}}")

    assert joined([ModelConfig("m", "/m")], own) == (
        ModelConfig("m", "/m", All(), {"a": 1}, logging=(LoggingConfig(),)),
    )


def test_shared_logging_gives_way_to_models_config() -> None:
    """Defaults never contradict."""
    own = read_yaml_settings("defaults: {logging: {attributes: 1}}\nmodels: {m: {num_cpus: 1}}")
    theirs = (LoggingConfig(attributes=2),)

    assert [
        model.logging for model in joined([ModelConfig("m", "/m", logging=theirs), ModelConfig("n", "/n")], own)
    ] == [
        theirs,
        (LoggingConfig(attributes=1),),
    ]


def test_relative_paths_need_a_root_here_too() -> None:
    """The rule is that of models.config."""
    own = read_yaml_settings("models:\n  m:\n    base_path: a/b", "s.yaml")

    assert joined((), own, relative_path_root="/srv")[0].base_path == "/srv/a/b"
    with pytest.raises(ConfigError, match=r"s.yaml:3: models.m.base_path: Expected model m to have an absolute path"):
        joined((), own)


def test_models_without_any_path_are_warned_about() -> None:
    """A reload may take a model out of models.config first, so this is no mistake."""
    own = read_yaml_settings("models:\n  m: {num_cpus: 1}\n  n: {num_cpus: 1}", "s.yaml")

    assert joined([ModelConfig("m", "/m")], own)[0].resources.num_cpus == 1
    assert [str(warning) for warning in unused_models([ModelConfig("m", "/m")], own)] == [
        "s.yaml:3: models.n: has no base_path and is not in models.config"
    ]


@pytest.mark.parametrize(
    ("ours", "result"),
    [
        ("{}", LISTED),
        ("{num_replicas: 2}", ModelConfig("m", "/m", resources=ModelResources(num_replicas=2))),
        ("{batching: {max_batch_size: 4}}", ModelConfig("m", "/m", batching=BatchingParameters(4))),
        ("{version_policy: {latest: 2}, labels: {a: 1}}", LISTED),
        ("{logging: [{attributes: 1}]}", LISTED),
        (
            "{logging: [{attributes: 1}, {attributes: 2}]}",
            ModelConfig("m", "/m", logging=(LoggingConfig(attributes=1), LoggingConfig(attributes=2))),
        ),
    ],
)
def test_a_list_changed_at_run_time_takes_from_our_file_what_only_that_can_say(ours: str, result: ModelConfig) -> None:
    """Placement, batching and several request logs; path, policy, labels and one log stay as they are listed."""
    assert placed([LISTED], read_yaml_settings(f"models: {{m: {ours}}}")) == (result,)


def test_models_are_joined_in_the_order_of_models_config_and_added_ones_follow() -> None:
    """The order of the list is the order in which a person finds its models."""
    own = read_yaml_settings("models: {z: {base_path: /z}, b: {num_cpus: 1}, a: {base_path: /a}}")

    names = [one.name for one in joined([ModelConfig("c", "/c"), ModelConfig("b", "/b")], own)]

    assert names == ["c", "b", "z", "a"]


def test_a_policy_of_our_file_counts_only_beside_the_default_one() -> None:
    """The default policy of models.config means that nothing was said there."""
    own = read_yaml_settings("models: {m: {version_policy: all}}")

    assert joined([LISTED], own)[0].policy == All()
    assert joined([ModelConfig("n", "/n", Latest(3))], own)[0].policy == Latest(3)


def test_platforms_that_differ_are_refused() -> None:
    """A model that names `any` in models.config leaves it to our file."""
    own = read_yaml_settings("models:\n m:\n  platform: onnx", "s.yaml")

    with pytest.raises(ConfigError, match=r"s.yaml:3: models.m.platform: differs from models.config"):
        joined([ModelConfig("m", "/m", platform=TENSORFLOW)], own)
    assert joined([ModelConfig("m", "/m", platform=ONNX)], own)[0].platform == ONNX
    assert joined([ModelConfig("m", "/m", platform=ANY)], own)[0].platform == ONNX


@pytest.mark.parametrize("join", [joined, placed])
def test_a_subpath_is_only_in_our_file(join: Callable[..., tuple[ModelConfig, ...]]) -> None:
    """A model that flags or models.config name takes it, too; others are left alone."""
    own = read_yaml_settings("models: {m: {version_subpath: data/model}}")

    first, second = join([ModelConfig("m", "/m"), ModelConfig("n", "/n")], own)

    assert (first.version_subpath, second.version_subpath) == ("data/model", "")


@pytest.mark.parametrize("join", [joined, placed])
def test_libraries_and_hooks_are_only_in_our_file(join: Callable[..., tuple[ModelConfig, ...]]) -> None:
    """They stay with a model whose list was changed at run time."""
    own = read_yaml_settings("defaults: {op_libraries: [a]}\nmodels: {m: {op_libraries: [/b.so], hooks: 'p:H'}}")
    first, second = join([LISTED, ModelConfig("n", "/n")], own)

    assert (first.op_libraries, first.hooks) == (("/b.so",), "p:H")
    assert (second.op_libraries, second.hooks) == (("a",), "")


REGISTERED = Extensions(version_policies={"odd": lambda least=0: Specific(frozenset({least}))})
ODD = RegisteredPolicy("odd", '{"least": 3}')


def odd_settings(policy: str = "{odd: {least: 3}}") -> YamlSettings:
    """Read a file that gives model `m` a registered policy."""
    return read_yaml_settings(f"models:\n m:\n  version_policy: {policy}", "s.yaml", REGISTERED)


@pytest.mark.parametrize("listed", [Latest(), Unsaid()])
def test_a_registered_policy_counts_where_models_config_says_nothing(listed: VersionPolicy) -> None:
    """That format cannot name it."""
    assert joined([replace(LISTED, policy=listed)], odd_settings())[0].policy == ODD


def test_a_registered_policy_beside_another_one_is_a_conflict() -> None:
    """Neither file overrides the other."""
    with pytest.raises(ConfigError, match=r"s.yaml:3: models.m.version_policy: differs from models.config"):
        joined([replace(LISTED, policy=All())], odd_settings())


@pytest.mark.parametrize(
    ("listed", "ours", "placed_policy"),
    [
        pytest.param(Unsaid(), "{odd: {least: 3}}", ODD, id="the_text_of_the_list_could_not_say_it"),
        pytest.param(Unsaid(), "all", Latest(), id="the_list_was_written_before_our_file_changed"),
        pytest.param(Latest(), "{odd: {least: 3}}", Latest(), id="a_command_said_latest"),
        pytest.param(Specific(frozenset({1})), "{odd: {least: 3}}", Specific(frozenset({1})), id="a_command_loaded_1"),
    ],
)
def test_a_list_changed_at_run_time_takes_a_registered_policy_from_our_file(
    listed: VersionPolicy, ours: str, placed_policy: VersionPolicy
) -> None:
    """Unless the change named a policy itself."""
    assert placed([replace(LISTED, policy=listed)], odd_settings(ours))[0].policy == placed_policy


def test_a_registered_policy_passes_through_the_text_of_a_list() -> None:
    """Written, read and placed, the list is what it was; without our file it is the default."""
    model = replace(LISTED, policy=ODD)
    read = model_configs(to_text([model]))

    assert placed(read, odd_settings()) == (model,)
    assert placed(read, YamlSettings()) == (LISTED,)


CANARY = "{steps: [{weight: 5, bake: 10m}]}"


def test_how_traffic_is_divided_is_only_ours_to_say() -> None:
    """A list in models.config's format has no word for it, also one that a request brings."""
    own = read_yaml_settings(f"defaults: {{canary: {CANARY}}}\nmodels: {{m: {{traffic: {{7: 90, 8: 10}}}}}}")

    for models in (joined([LISTED, ModelConfig("n", "/n")], own), placed([LISTED, ModelConfig("n", "/n")], own)):
        assert models[0].delivery.traffic == {"7": 9000, "8": 1000}
        assert models[0].delivery.plan is None
        assert models[1].delivery.plan is not None


def test_a_plan_that_contradicts_either_file_is_refused_with_its_line() -> None:
    """The policy or the labels may be those of models.config."""
    own = read_yaml_settings(f"models:\n  m:\n    traffic: {{7: 90, 8: 10}}\n  n:\n    canary: {CANARY}\n", "s.yaml")
    listed = [ModelConfig(name, "/m", Specific(frozenset({7}))) for name in ("m", "n")]

    with pytest.raises(ConfigError) as raised:
        joined(listed, own)

    assert [str(problem) for problem in raised.value.problems] == [
        "s.yaml:3: models.m.traffic: names version 8, which the version policy does not serve",
        "s.yaml:5: models.n.canary: needs two versions, and the version policy `specific` lists fewer",
    ]


def test_a_plan_of_all_models_that_does_not_fit_one_is_refused_where_it_stands() -> None:
    """The model may say `canary: false`."""
    text = f"defaults:\n  canary: {CANARY}\nmodels:\n  n: {{base_path: /n, rollout: resource_preserving}}\n"

    with pytest.raises(ConfigError, match=r"s\.yaml:2: models\.n\.canary: needs two versions at a time"):
        joined([], read_yaml_settings(text, "s.yaml"))
    with pytest.raises(ConfigError, match=r"s\.yaml:2: defaults\.canary: needs two versions"):
        joined(
            [replace(LISTED, policy=Specific(frozenset({1})))],
            read_yaml_settings(text.partition("models")[0], "s.yaml"),
        )
    assert joined([], read_yaml_settings(text.replace("{base_path", "{canary: false, base_path"), "s.yaml"))
