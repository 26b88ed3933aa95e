"""ModelServerConfig to model configurations."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.config.extensions import ANY, BUILT_IN_KINDS, OPEN, TENSORFLOW, Extensions, PlatformKind
from core.config.model_config import LoggingConfig, ModelConfig, TaskSampling
from core.config.models_text import model_configs, models_from_message, single_model, to_message, to_text
from core.config.version_policy import All, Latest, Specific, Unsaid
from core.errors import ConfigError, Problem
from core.protos import model_config_pb2

FULL = """
model_config_list: {
  config {  # the first
    name: 'half_plus_two', base_path: "/models/" "half_plus_two"; model_platform: "tensorflow"
    model_version_policy { specific { versions: 1 versions: 2 } }
    version_labels { key: "stable" value: 1 }
    version_labels: < key: "canary", value: 2 >
    logging_config {
      log_collector_config { type: "" filename_prefix: "/logs/h2" }
      sampling_config {
        sampling_rate: 0.5 attributes: 1
        per_task_sampling_configs { dc: "aa" sampling_rate: 1 }
        per_task_sampling_configs { task_index: 0 }
      }
    }
  }
  config { name: "b" base_path: "gs://bucket/b" model_type: TENSORFLOW model_version_policy { all { } } }
}
"""


def one_model(fields: str, **options: str) -> ModelConfig:
    """Read a file with one model."""
    return model_configs("model_config_list { config { " + fields + " } }", "f", **options)[0]


def problems_of(text: str) -> list[Problem]:
    """Return every mistake of a file."""
    with pytest.raises(ConfigError) as raised:
        model_configs(text, "models.config")
    return list(raised.value.problems)


def messages_of(fields: str) -> list[str]:
    """Return the mistakes of one model's fields."""
    return [problem.message for problem in problems_of("model_config_list { config { " + fields + " } }")]


def test_a_full_file_is_read() -> None:
    """Everything TensorFlow Serving knows about a model arrives, in every spelling of the text format."""
    sampling = (TaskSampling("aa", None, 1.0), TaskSampling("", 0, 0.0))

    assert model_configs(FULL) == (
        ModelConfig(
            "half_plus_two",
            "/models/half_plus_two",
            Specific(frozenset({1, 2})),
            {"stable": 1, "canary": 2},
            logging=(LoggingConfig("", "/logs/h2", 0.5, 1, sampling),),
            platform=TENSORFLOW,
        ),
        ModelConfig("b", "gs://bucket/b", All(), platform=TENSORFLOW),
    )


@pytest.mark.parametrize("text", ["# nothing\n", "model_config_list { }"])
def test_no_models_is_a_configuration_too(text: str) -> None:
    """A server may start empty and be given models later."""
    assert model_configs(text) == ()


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ("", Latest()),
        ("model_version_policy { }", Unsaid()),
        ("model_version_policy { latest { } }", Latest(1)),
        ("model_version_policy { latest { num_versions: 3 } }", Latest(3)),
        ("model_version_policy { specific { } }", Specific(frozenset())),
    ],
)
def test_policies_have_their_defaults(policy: str, expected: Latest | Specific) -> None:
    """Nothing said means the latest version; an empty list of versions is a list."""
    assert one_model(f'name: "m" base_path: "/m" model_platform: "tensorflow" {policy}').policy == expected


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        pytest.param(
            'name: "m" base_path: "m/n" model_platform: "tensorflow"',
            "Expected model m to have an absolute path or URI; got base_path()=m/n",
            id="case_J6",
        ),
        pytest.param(
            'name: "m" base_path: "/m" model_platform: "tensorflow" model_type: TENSORFLOW',
            "Illegal setting both ModelServerConfig::model_type (deprecated) and ModelServerConfig::model_platform, "
            "model name is m",
            id="case_J11",
        ),
        pytest.param(
            'name: "m" base_path: "/m" model_platform: "not_a_known_platform"',
            "Model m requests unsupported platform not_a_known_platform",
            id="case_J14",
        ),
        pytest.param(
            'name: "m" base_path: "/m"',
            "Illegal setting neither ModelServerConfig::model_type (deprecated) nor ModelServerConfig::model_platform, "
            "model name is m",
            id="no_platform",
        ),
        pytest.param(
            'name: "m" base_path: "/m" model_type: OTHER',
            "ModelServerConfig::model_type choice 2 not supported.",
            id="other_type",
        ),
        pytest.param('base_path: "/m" model_type: TENSORFLOW', "The model has no name", id="no_name"),
        pytest.param(
            'name: "m" base_path: "/m" model_type: TENSORFLOW version_labels { key: "a" value: -1 }',
            "Label a points to version -1; versions are 0 or more",
            id="negative_label",
        ),
        pytest.param(
            'name: "m" base_path: "/m" model_type: TENSORFLOW logging_config { custom_logging_config { } }',
            "custom_logging_config is not supported",
            id="custom_logging",
        ),
        pytest.param(
            'name: "m" base_path: "/m" model_type: TENSORFLOW '
            "logging_config { sampling_config { sampling_rate: nan } }",
            "sampling_rate must be between 0 and 1; was nan",
            id="sampling_rate",
        ),
        pytest.param(
            'name: "m" base_path: "/m" model_type: TENSORFLOW '
            'logging_config { log_collector_config { type: "kafka" } }',
            "Cannot find LogCollector::Factory for type: kafka",
            id="collector",
        ),
        pytest.param(
            'name: "m" base_path: "/m" model_type: TENSORFLOW logging_config { '
            'log_collector_config { filename_prefix: "logs/m" } sampling_config { sampling_rate: 0.1 } }',
            "must be an absolute path or a URI; was 'logs/m'",
            id="relative_prefix",
        ),
        pytest.param(
            'name: "m" base_path: "/m" model_type: TENSORFLOW logging_config { '
            "sampling_config { per_task_sampling_configs { sampling_rate: 1 } } }",
            "must be an absolute path or a URI; was ''",
            id="no_prefix",
        ),
    ],
)
def test_mistakes_have_their_texts(fields: str, message: str) -> None:
    """Where TensorFlow Serving has a text for a mistake, it is that text."""
    assert messages_of(fields) == [message]


def test_case_J12_the_old_type_field_is_enough() -> None:
    """`model_type: TENSORFLOW` means the platform tensorflow."""
    assert one_model('name: "m" base_path: "/m" model_type: TENSORFLOW') == ModelConfig("m", "/m", platform=TENSORFLOW)


def test_case_J31_a_request_log_is_accepted() -> None:
    """What the stock server refuses for want of a logger works here."""
    model = one_model('name: "m" base_path: "/m" model_type: TENSORFLOW logging_config { }')

    assert model.logging == (LoggingConfig(),)


@pytest.mark.parametrize("collector", ["", "tf_record", "json_lines"])
def test_these_collectors_are_known(collector: str) -> None:
    """They are the documented kinds of request logs."""
    model = one_model(
        'name: "m" base_path: "/m" model_type: TENSORFLOW logging_config { log_collector_config { '
        f'type: "{collector}" filename_prefix: "s3://bucket/log" }} sampling_config {{ sampling_rate: 1 }} }}'
    )

    assert model.logging == (LoggingConfig(collector, "s3://bucket/log", 1.0),)


def test_all_mistakes_are_reported_at_once_with_line_and_field() -> None:
    """One look at the output is enough to repair the file."""
    text = """model_config_list {
  config { name: "a" base_path: "a" model_platform: "tensorflow" }
  config {
    name: "a"
    base_path: "/a"
    model_version_policy { specific { versions: 1
                                      versions: -1 } }
  }
}"""

    assert [(problem.line, problem.field) for problem in problems_of(text)] == [
        (2, "config[0].base_path"),
        (3, "config[1].model_platform"),
        (4, "config[1].name"),
        (6, "config[1].model_version_policy.specific.versions"),
    ]
    assert "Illegal to list model a multiple times in config list" in str(problems_of(text)[2])


def test_custom_configs_are_refused() -> None:
    """Only lists of models are understood."""
    problem = problems_of("\ncustom_model_config { }")[0]

    assert str(problem) == (
        "models.config:2: custom_model_config: ModelServer does not yet support custom model config."
    )


def test_relative_paths_are_joined_to_a_root() -> None:
    """With a root, relative base paths are allowed; absolute ones and URIs stay as they are."""
    fields = 'name: "m" model_type: TENSORFLOW base_path: '

    assert one_model(f'{fields} "a/b"', relative_path_root="s3://x/").base_path == "s3://x/a/b"
    assert one_model(f'{fields} "/a"', relative_path_root="/root").base_path == "/a"
    assert one_model(f'{fields} "hdfs://a"', relative_path_root="/root").base_path == "hdfs://a"


def test_an_empty_path_is_never_the_root_itself() -> None:
    """A forgotten base path must not serve the root's children."""
    with pytest.raises(ConfigError, match="absolute path or URI"):
        one_model('name: "m" model_type: TENSORFLOW', relative_path_root="/root")


def test_the_one_model_of_the_flags_follows_the_same_rules() -> None:
    """`--model_name` and `--model_base_path` are a list of one."""
    assert single_model("m", "/m") == ModelConfig("m", "/m")
    with pytest.raises(ConfigError, match="absolute path or URI; got base_path\\(\\)=m"):
        single_model("m", "m")


@pytest.mark.parametrize(
    ("name", "base_path", "flag"), [("", "/models/", "--model_name"), ("m", "m", "--model_base_path")]
)
def test_a_mistake_of_a_flag_names_the_flag(name: str, base_path: str, flag: str) -> None:
    """Where there is no list, nobody looks for its first entry; an empty `MODEL_NAME` of a container comes so far."""
    with pytest.raises(ConfigError) as raised:
        single_model(name, base_path)

    assert [problem.field for problem in raised.value.problems] == [flag]


@pytest.mark.parametrize(("name", "base_path"), [("m\udcff", "/m"), ("m", "/m\udcff")])
def test_names_of_flags_that_are_no_utf8_are_mistakes(name: str, base_path: str) -> None:
    """No message could hold them; an argument may be any bytes."""
    with pytest.raises(ConfigError, match=r"must be UTF-8; got .*udcff"):
        single_model(name, base_path)


def test_reload_requests_are_checked_without_lines() -> None:
    """A message has no lines, but its fields have names."""
    message = model_config_pb2.ModelServerConfig()
    message.model_config_list.config.add(name="m", base_path="/m")
    with pytest.raises(ConfigError) as raised:
        models_from_message(message)

    assert [(problem.line, problem.field) for problem in raised.value.problems] == [(None, "config[0].model_platform")]


def test_custom_reload_requests_are_refused() -> None:
    """Also a message can hold a custom config."""
    message = model_config_pb2.ModelServerConfig()
    message.custom_model_config.SetInParent()
    with pytest.raises(ConfigError, match="does not yet support custom model config"):
        models_from_message(message)


numbers = st.integers(0, 2**63 - 1)
words = st.text(st.characters(codec="utf-8"), min_size=1, max_size=8)
policies = st.one_of(
    st.just(All()),
    st.builds(Latest, st.integers(1, 2**32 - 1)),
    st.builds(Specific, st.frozensets(numbers, max_size=3)),
)
rates = st.floats(0, 1)
tasks = st.builds(TaskSampling, words, st.none() | st.integers(0, 9), rates)
prefixes = words.map("/{}".format)
logs = st.builds(
    LoggingConfig,
    st.sampled_from(["", "tf_record", "json_lines"]),
    prefixes,
    rates,
    st.integers(0, 3),
    st.lists(tasks, max_size=2).map(tuple),
)
models = st.builds(
    ModelConfig,
    words,
    words.map("/{}".format),
    policies,
    st.dictionaries(words, numbers, max_size=2),
    logging=st.just(()) | st.tuples(logs),
)


@given(st.lists(models, max_size=3, unique_by=lambda model: model.name))
def test_what_is_written_reads_back_the_same(listed: list[ModelConfig]) -> None:
    """`to_text` loses nothing that the format can say."""
    assert model_configs(to_text(listed)) == tuple(listed)


def test_several_request_logs_are_left_out() -> None:
    """The format can say one only; what it cannot say comes from our own file, before and after."""
    twice = ModelConfig("m", "/m", logging=(LoggingConfig(), LoggingConfig(attributes=1)))

    assert model_configs(to_text([twice])) == (ModelConfig("m", "/m"),)


NAMES = ["model_config_list", "config", "name", "base_path", "model_type", "version_labels", "key", "value"]
OTHERS = [
    "logging_config",
    "TENSORFLOW",
    "1",
    "-1",
    "1e400",
    '"x"',
    "[a.b/c]",
    "custom_model_config",
    *"{}<>[]:,;'\"#\\-\n",
]
fragments = st.sampled_from([*NAMES, *OTHERS])


@given(st.one_of(st.text(max_size=100), st.lists(fragments, max_size=40).map(" ".join)))
def test_any_text_gives_models_or_a_config_error(text: str) -> None:
    """No file can crash the server."""
    with contextlib.suppress(ConfigError):
        model_configs(text, "f")


@pytest.mark.parametrize(
    ("name", "files"),
    [
        ("tensorflow", ("saved_model.pb", "saved_model.pbtxt", "saved_model.cpb", "model.tflite")),
        ("tflite", ("model.tflite",)),
        ("onnx", ("model.onnx",)),
        ("python", ("model.py",)),
        ("any", ANY.files),
    ],
)
def test_a_model_has_a_platform_that_its_files_show(name: str, files: tuple[str, ...]) -> None:
    """The name survives the text form of a list in force."""
    model = one_model(f'name: "m" base_path: "/m" model_platform: "{name}"')

    assert model.platform == PlatformKind(name, files)
    assert model_configs(to_text([model])) == (model,)


def test_a_platform_that_only_the_server_has_is_shown_by_others() -> None:
    """A command reads the list of a server on another machine."""
    text = to_message([ModelConfig("m", "/m", platform=PlatformKind("other", ("model.other",)))])

    with pytest.raises(ConfigError, match="Model m requests unsupported platform other"):
        models_from_message(text)
    assert models_from_message(text, known=OPEN) == (ModelConfig("m", "/m", platform=PlatformKind("other")),)


def test_a_platform_of_a_package_is_known() -> None:
    """With its files; it must be named, because its files are known only after its code was imported."""
    other = PlatformKind("other", ("model.other",))
    known = Extensions({**BUILT_IN_KINDS, "other": other})
    text = 'model_config_list { config { name: "m" base_path: "/m" model_platform: "%s" } }'

    assert model_configs(text % "other", known=known)[0].platform == other
    assert model_configs(text % "any", known=known)[0].platform == ANY
    assert single_model("m", "/m", known=known).platform == ANY
