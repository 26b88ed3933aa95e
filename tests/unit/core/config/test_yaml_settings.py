"""Our YAML file: what may stand in it, and every mistake with its line and field."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.config.extensions import PYTHON
from core.config.joined_models import joined
from core.config.model_config import (
    Autoscaling,
    BatchingParameters,
    LoggingConfig,
    ModelConfig,
    ModelResources,
    Placement,
    Rollout,
    TaskSampling,
)
from core.config.version_policy import All, Latest, Specific
from core.config.yaml_settings import read_yaml_settings
from core.errors import ConfigError

ORDER = "min_replicas, initial_replicas and max_replicas must not decrease in this order"
SIZES = "allowed_batch_sizes must be positive and increasing"
FULL = """
defaults:
  num_cpus: 0.5
  drain_timeout_s: 5
models:
  added:
    base_path: s3://bucket/added
    version_policy: {latest: 2}
    labels: {stable: 3}
    num_gpus: 0.25
    memory_bytes: 1000
    accelerator_type: H100
    resources: {special: 1}
    autoscaling: {min_replicas: 0, max_replicas: 4, target_ongoing_requests: 3}
    rollout: resource_preserving
    marker_file: _SUCCESS
    max_ongoing_requests: 8
    max_queued_requests: -1
    max_requests_per_second: 120.5
    max_in_flight: 16
    env_vars: {OMP_NUM_THREADS: "1"}
    batching: {max_batch_size: 8, allowed_batch_sizes: [4, 8], pad_variable_length_inputs: yes}
    logging: {filename_prefix: /logs/a, sampling_rate: 1, per_task: [{dc: aa, sampling_rate: 0.5}]}
  listed: {num_replicas: 2, max_replicas_per_node: 1}
server:
  rest_api_port: 8501
  enable_batching: true
  per_process_gpu_memory_fraction: 1
"""


SPREAD = ModelResources(num_replicas=2, max_replicas_per_node=1, num_cpus=0.5, drain_timeout_s=5.0)


def only_model(text: str) -> ModelConfig:
    """Read a file with one model, given as the inside of a flow mapping."""
    return joined((), read_yaml_settings("models: {m: {base_path: /m, " + text + "}}"))[0]


def problems_of(text: str) -> list[str]:
    """Return every mistake of a file."""
    with pytest.raises(ConfigError) as raised:
        read_yaml_settings(text, "s.yaml")
    return [str(problem) for problem in raised.value.problems]


@pytest.mark.parametrize(
    ("text", "field"),
    [
        (r'models: {"\ud800": {base_path: "/m"}}', r"models.\ud800"),
        (r'models: {m: {base_path: "/m\ud83d\ude00"}}', "models.m.base_path"),
        (r'models: {m: {base_path: /m, env_vars: {"\udfff": x}}}', r"models.m.env_vars.\udfff"),
    ],
)
def test_half_a_surrogate_pair_is_a_mistake_that_can_be_printed(text: str, field: str) -> None:
    """No message could hold it, and the list of models travels in messages."""
    (mistake,) = problems_of(text)

    assert mistake == f"s.yaml:1: {field}: holds half of a surrogate pair; write the character itself"


def test_a_mistake_beside_half_a_pair_can_be_printed() -> None:
    """What stands in the file is shown in every mistake."""
    (mistake,) = problems_of(r'models: {m: {base_path: /m, num_replicas: "\ud800"}}')

    assert mistake.isascii()


def test_a_full_file_adds_models_and_completes_listed_ones() -> None:
    """Models of both files end up in one list, with the defaults underneath."""
    own = read_yaml_settings(FULL, "s.yaml")

    assert joined([ModelConfig("listed", "/l"), ModelConfig("plain", "/p")], own) == (
        ModelConfig("listed", "/l", resources=SPREAD),
        ModelConfig("plain", "/p", resources=ModelResources(num_cpus=0.5, drain_timeout_s=5.0)),
        ModelConfig(
            "added",
            "s3://bucket/added",
            Latest(2),
            {"stable": 3},
            ModelResources(
                num_cpus=0.5,
                num_gpus=0.25,
                memory_bytes=1000,
                accelerator_type="H100",
                resources={"special": 1.0},
                autoscaling=Autoscaling(0, 4, target_ongoing_requests=3.0),
                rollout=Rollout.RESOURCE_PRESERVING,
                drain_timeout_s=5.0,
                marker_file="_SUCCESS",
                max_ongoing_requests=8,
                max_requests_per_second=120.5,
                max_in_flight=16,
                env_vars={"OMP_NUM_THREADS": "1"},
            ),
            (LoggingConfig(filename_prefix="/logs/a", sampling_rate=1.0, per_task=(TaskSampling("aa", None, 0.5),)),),
            BatchingParameters(8, allowed_batch_sizes=(4, 8), pad_variable_length_inputs=True),
        ),
    )
    assert own.server == {"rest_api_port": 8501, "enable_batching": True, "per_process_gpu_memory_fraction": 1.0}


@pytest.mark.parametrize("text", ["# nothing", "models:", "models: {}\ndefaults:\nserver:"])
def test_a_file_may_say_nothing(text: str) -> None:
    """Empty sections are no mistakes."""
    assert joined([ModelConfig("m", "/m")], read_yaml_settings(text)) == (ModelConfig("m", "/m"),)


@pytest.mark.parametrize(
    ("text", "policy"),
    [
        ("all", All()),
        ("latest", Latest()),
        ("{all: true}", All()),
        ("{latest: 0}", Latest(1)),
        ("{specific: [1, 2]}", Specific(frozenset({1, 2}))),
    ],
)
def test_version_policies_have_these_spellings(text: str, policy: All | Latest | Specific) -> None:
    """A word where there is nothing more to say."""
    assert only_model(f"version_policy: {text}").policy == policy


def test_own_autoscaling_completes_the_shared_one() -> None:
    """A model changes single bounds."""
    own = read_yaml_settings(
        "defaults: {autoscaling: {max_replicas: 9}}\nmodels: {m: {autoscaling: {min_replicas: 2}}}"
    )

    assert joined([ModelConfig("m", "/m")], own)[0].resources.autoscaling == Autoscaling(2, 9)


def test_own_replica_count_replaces_shared_autoscaling_and_the_other_way_round() -> None:
    """What a model says itself is nearer than what is said for all."""
    counted = read_yaml_settings("defaults: {autoscaling: {max_replicas: 9}}\nmodels: {m: {num_replicas: 2}}")
    scaled = read_yaml_settings("defaults: {num_replicas: 2}\nmodels: {m: {autoscaling: {max_replicas: 3}}}")

    assert counted.models["m"].resources == ModelResources(num_replicas=2)
    assert scaled.models["m"].resources == ModelResources(autoscaling=Autoscaling(1, 3))


def test_all_mistakes_are_reported_at_once_with_line_and_field() -> None:
    """Unknown names come with a guess, values with what was expected."""
    text = """defaults:
  num_cpu: 1
models:
  m: {base_path: 3, labels: {stable: -1}, rollout: fast}
  m: {}
  n:
    num_replicas: !!int [2]
    drain_timeout_s: .inf
    resources: [1]
    batching: {max_batch_size: 8, allowed_batch_sizes: [9, 8]}
    autoscaling: {target_ongoing_requests: 0, min_replicas: 3}
    logging: {sampling_rate: 2, per_task: 3}
  [a]: {}
  <<: {}
  "": {}
server: {port: x, enable_batching: 1, version: true, rest_api_port: 99999999999, host: ~}
sever: {}"""

    assert problems_of(text) == [
        "s.yaml:2: defaults.num_cpu: unknown setting; did you mean num_cpus?",
        "s.yaml:4: models.m.base_path: must be a text; was 3",
        "s.yaml:4: models.m.labels.stable: must be at least 0; was -1",
        "s.yaml:4: models.m.rollout: must be one of availability_preserving, resource_preserving",
        "s.yaml:5: models.m: is given twice",
        "s.yaml:7: models.n.num_replicas: must be a whole number; was a list",
        "s.yaml:8: models.n.drain_timeout_s: must be a number; was .inf",
        "s.yaml:9: models.n.resources: must be a mapping of names to values",
        f"s.yaml:10: models.n.batching.allowed_batch_sizes: {SIZES}; was [9, 8]",
        "s.yaml:11: models.n.autoscaling.target_ongoing_requests: must be more than 0; was 0",
        f"s.yaml:11: models.n.autoscaling: {ORDER}",
        "s.yaml:12: models.n.logging.sampling_rate: must be at most 1; was 2",
        "s.yaml:12: models.n.logging.per_task: must be a list",
        "s.yaml:13: models.?: must be a plain name",
        "s.yaml:14: models.<<: merge keys are not read; use defaults",
        "s.yaml:15: models.: The model has no name",
        "s.yaml:16: server.version: unknown setting",
        "s.yaml:16: server.port: must be a whole number; was 'x'",
        "s.yaml:16: server.enable_batching: must be true or false; was 1",
        "s.yaml:16: server.rest_api_port: must be at most 2147483647; was 99999999999",
        "s.yaml:16: server.host: must be a text; was ~",
        "s.yaml:17: sever: unknown setting; did you mean server?",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("version_policy: newest", "must be one of latest, all"),
        ("version_policy: {}", "must be one of `all`, `latest: <count>`, `specific: [<version>, ...]`"),
        ("version_policy: {all: true, latest: 1}", "must be one of `all`"),
        ("version_policy: {specific: [1, x]}", "specific.1: must be a whole number; was 'x'"),
        ("version_policy: [1]", "must be a mapping of names to values"),
        ("num_replicas: 1, autoscaling: {max_replicas: 2}", "autoscaling: cannot be combined with num_replicas"),
        ("num_replicas: 0x10", "must be a whole number; was 0x10"),
        ("num_replicas: " + "9" * 5000, "must be a whole number; was 9"),
        ("batching: {pad_variable_length_inputs: !!bool maybe}", "must be true or false; was maybe"),
        ("num_cpus: !!float x", "must be a number; was x"),
        ("max_requests_per_second: -1", "max_requests_per_second: must be at least 0; was -1"),
        ("max_requests_per_second: .inf", "max_requests_per_second: must be a number; was .inf"),
        ("max_in_flight: 1.5", "max_in_flight: must be a whole number; was 1.5"),
        ("max_in_flight: -1", "max_in_flight: must be at least 0; was -1"),
        ("env_vars: {A: {}}", "must be a text; was a mapping"),
        ("hooks: pictures.hooks.TopFive", "hooks: must be a class as `module:Class`; was 'pictures.hooks.TopFive'"),
        ("hooks: 'pictures..hooks:TopFive'", "must be a class as `module:Class`"),
        ("hooks: 'pictures:TopFive()'", "must be a class as `module:Class`"),
        ("hooks: [a]", "must be a text; was a list"),
        ("version_subpath: /data/model", "must be relative to each version's folder; was '/data/model'"),
        ("version_subpath: 's3://bucket/model'", "must be relative to each version's folder; was 's3://bucket/model'"),
        ("version_subpath: ''", "must be the names of folders with / between them, such as data/model; was ''"),
        ("version_subpath: data/model/", "must be the names of folders with / between them"),
        ("version_subpath: data//model", "must be the names of folders with / between them"),
        ("version_subpath: ../7/data", "must be the names of folders with / between them"),
        ("version_subpath: data/..", "must be the names of folders with / between them"),
        ("version_subpath: ./data", "must be the names of folders with / between them"),
        ('version_subpath: "data\\u0007"', "must not hold control characters; was 'data\\x07'"),
        ("version_subpath: [data]", "must be a text; was a list"),
        ("version_subpath: 7", "must be a text; was 7"),
    ],
)
def test_mistakes_of_a_model_are_explained(text: str, message: str) -> None:
    """Each text says what would have been right."""
    with pytest.raises(ConfigError) as raised:
        only_model(text)

    assert [message in str(problem) for problem in raised.value.problems] == [True]


@pytest.mark.parametrize(
    "text", ["", "a: [", "\x00", "a: b: c", "[" * 20_000, "--- 1\n--- 2", "models: *unknown", "[]", "3"]
)
def test_what_is_no_yaml_mapping_is_refused(text: str) -> None:
    """Broken, empty and endlessly nested files are config errors."""
    assert problems_of(text)[0].startswith("s.yaml")


def test_a_file_that_grows_when_expanded_stays_small() -> None:
    """Aliases of aliases are never expanded."""
    laughs = "a: &a [x, x]\n" + "".join(
        f"{new}: &{new} [*{old}, *{old}, *{old}]\n"
        for old, new in zip("abcdefghijklmnop", "bcdefghijklmnopq", strict=True)
    )

    assert len(problems_of(laughs)) == 17


def test_a_model_may_have_several_request_logs() -> None:
    """A list gives each of them a sample of its own."""
    model = only_model(
        "logging: [{filename_prefix: /logs/a, sampling_rate: 1}, {collector: json_lines, filename_prefix: 's3://b/a'}]"
    )

    assert model.logging == (
        LoggingConfig(filename_prefix="/logs/a", sampling_rate=1.0),
        LoggingConfig("json_lines", "s3://b/a"),
    )


def test_request_logs_are_checked() -> None:
    """Kind and place are looked at when the file is read, in every entry of a list."""
    text = """models:
  m:
    base_path: /m
    logging:
      - {collector: kafka}
      - {filename_prefix: logs, per_task: [{sampling_rate: 1}]}
"""

    assert problems_of(text) == [
        "s.yaml:5: models.m.logging.0.collector: Cannot find LogCollector::Factory for type: kafka",
        "s.yaml:6: models.m.logging.1.filename_prefix: must be an absolute path or a URI; was 'logs'",
    ]


WORDS = "models defaults server m labels port batching autoscaling num_replicas version_policy 1 -1 .nan true ~"
MARKS = ": |\n|  |{|}|[|]|, |- |&a |*a|<<|!!int |'|? |1:30|!!python/object:x |!!str |!!null "
fragments = st.sampled_from([*WORDS.split(" "), *MARKS.split("|")])


@given(st.one_of(st.text(max_size=60), st.lists(fragments, max_size=30).map("".join)))
def test_any_text_gives_settings_or_a_config_error(text: str) -> None:
    """No file can crash the server."""
    with contextlib.suppress(ConfigError):
        read_yaml_settings(text, "f")


def test_a_model_of_this_file_may_name_its_platform() -> None:
    """One that nobody knows is a mistake with its line, and with the names that there are."""
    assert only_model("platform: python").platform == PYTHON
    with pytest.raises(ConfigError) as raised:
        read_yaml_settings("models:\n  m:\n    platform: torch", "s.yaml")
    assert [str(one) for one in raised.value.problems] == [
        "s.yaml:3: models.m.platform: is not a platform: torch; there are tensorflow, tflite, onnx, python, any"
    ]
    with pytest.raises(ConfigError, match=r"models\.m\.platform"):
        read_yaml_settings("models: {m: {platform: [onnx]}}")


@pytest.mark.parametrize("name", ["pictures:TopFive", "pictures.hooks:TopFive", ""])
def test_a_model_may_name_the_class_of_its_hooks(name: str) -> None:
    """An empty text leaves it to the version's folder."""
    assert only_model(f"hooks: '{name}'").hooks == name


def test_a_placement_is_read_and_by_default_is_nobody_s() -> None:
    """A model is hosted, has its own deployments, or leaves it to the flag."""
    assert only_model("placement: hosted").resources.placement is Placement.HOSTED
    assert only_model("placement: own, num_cpus: 2").resources.placement is Placement.OWN
    assert only_model("num_cpus: 2").resources.placement is None


@pytest.mark.parametrize(
    ("setting", "name"),
    [
        ("num_replicas: 2", "num_replicas"),
        ("num_cpus: 0.5", "num_cpus"),
        ("num_gpus: 0.25", "num_gpus"),
        ("memory_bytes: 1000", "memory_bytes"),
        ("accelerator_type: H100", "accelerator_type"),
        ("resources: {special: 1}", "resources"),
        ("autoscaling: {max_replicas: 2}", "autoscaling"),
        ("env_vars: {A: b}", "env_vars"),
    ],
)
def test_a_hosted_model_with_a_setting_of_an_own_deployment_is_refused(setting: str, name: str) -> None:
    """A child process has no resources of its own, so a file that asks for both is a mistake at its line."""
    with pytest.raises(ConfigError) as caught:
        read_yaml_settings(f"defaults:\n  {setting}\nmodels:\n  m: {{base_path: /m, placement: hosted}}", "s.yaml")

    (problem,) = caught.value.problems
    assert (problem.line, problem.field) == (4, "models.m.placement")
    assert problem.message == f"hosted cannot be combined with {name}, which needs a Serve deployment of its own"


def test_a_model_may_leave_the_shared_placement() -> None:
    """All models are hosted but the one that needs a GPU and says so."""
    settings = read_yaml_settings(
        "defaults: {placement: hosted}\nmodels: {g: {num_gpus: 1, placement: own}, h: {num_gpus: 0}}"
    )

    assert settings.models["g"].resources.placement is Placement.OWN
    assert settings.models["h"].resources.placement is Placement.HOSTED


@pytest.mark.parametrize("subpath", ["data/model", "tf2model", "...", "modèle 7/β", "a\\b"])
def test_a_model_may_lie_deeper_in_the_folders_of_its_versions(subpath: str) -> None:
    """Any folder that a file system and an object store can name."""
    assert only_model(f"version_subpath: '{subpath}'").version_subpath == subpath


def test_a_mistake_in_a_subpath_has_its_line_and_field() -> None:
    """It is a setting of one model, and none of all."""
    with pytest.raises(ConfigError) as raised:
        read_yaml_settings("models:\n  m:\n    base_path: /m\n    version_subpath: /x\n", "s.yaml")
    with pytest.raises(ConfigError) as shared:
        read_yaml_settings("defaults:\n  version_subpath: x\n", "s.yaml")

    assert str(raised.value.problems[0]).startswith("s.yaml:4: models.m.version_subpath: must be relative")
    assert str(shared.value.problems[0]) == "s.yaml:2: defaults.version_subpath: unknown setting"
