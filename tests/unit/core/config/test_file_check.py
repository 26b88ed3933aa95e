"""Tests of `check-config`: kinds of files, every mistake with its place, and what has no effect."""

from __future__ import annotations

import pytest

from core.config.file_check import BLANK, NO_KIND, Checked, FileKind, across, check_file, kind_of
from core.errors import Problem
from tests.support.project import ROOT

MODELS = 'model_config_list { config { name: "m" base_path: "/m" model_platform: "tensorflow" } }'
SERVE = "applications:\n- name: router\n  import_path: deployments.app:build\n  args: {{{}}}\n"


@pytest.mark.parametrize(
    ("text", "file", "kind"),
    [
        (MODELS, "x", FileKind.MODELS),
        ("model_config_list {}", "models.config", FileKind.MODELS),
        ("models:\n  m: {}\n", "x", FileKind.SETTINGS),
        ("nonsense", "x.yaml", FileKind.SETTINGS),
        ("max_batch_size { value: 3 }", "x", FileKind.BATCHING),
        ("prometheus_config { enable: true }", "x", FileKind.MONITORING),
        ('server_key: "a"', "x", FileKind.SSL),
        ("intra_op_parallelism_threads: 2", "x", FileKind.SESSION),
        ("platform_configs { }", "x", FileKind.PLATFORM),
        ("thread_pool_factory_config { }", "x", FileKind.PLATFORM),
        (SERVE.format(""), "app.yaml", FileKind.SERVE),
        ("hello", "x", None),
        ("", "x", None),
    ],
)
def test_the_kind_of_a_file_shows_in_its_fields(text, file, kind) -> None:
    """Nobody has to name it."""
    assert kind_of(text, file) is kind


def test_a_file_of_no_kind_is_a_mistake_that_says_what_to_do() -> None:
    """An empty file is one that is just being written."""
    assert check_file("x y", "x") == Checked("x", None, (Problem(NO_KIND, "x"),))
    assert check_file("", "x") == Checked("x", None, (Problem(f"{BLANK}. {NO_KIND}", "x"),))
    (problem,) = check_file("", "x", FileKind.MODELS).problems
    assert "The file is empty" in problem.message


def found(text: str, kind: FileKind | None = None, file: str = "f") -> list[str]:
    return [str(problem) for problem in check_file(text, file, kind).problems]


def test_every_mistake_of_a_list_of_models_is_reported_at_once() -> None:
    """Also those beside a field that is misspelt."""
    text = 'model_config_list {\n config { name: "a" base_path: "/a" bas: 1 model_platform: "x" }\n config { name: "a" }\n}'

    places = [line.split(": ")[:2] for line in found(text)]

    assert places == [
        ["f:2", "bas"],
        ["f:2", "config[0].model_platform"],
        ["f:3", "config[1].name"],
        ["f:3", "config[1].base_path"],
        ["f:3", "config[1].model_platform"],
    ]


def test_a_text_that_cannot_be_read_at_all_is_reported_once() -> None:
    """A second reading must not double it."""
    assert len(found("improperly formatted file", FileKind.MODELS)) == 1


def test_labels_that_no_version_can_have_are_warned_of() -> None:
    """The policy never serves version 3."""
    text = MODELS.replace(
        'tensorflow"', 'tensorflow" version_labels { key: "stable" value: 3 } version_labels { key: "old" value: 1 } '
        "model_version_policy { specific { versions: 1 } }",
    )  # fmt: skip

    checked = check_file(text, "f")

    assert checked.problems == ()
    assert [str(one) for one in checked.warnings] == [
        "f: m.version_labels.stable: names version 3, which the version policy does not serve"
    ]


@pytest.mark.parametrize(
    ("text", "mistakes"),
    [
        ("max_batch_size { value: 0 }\nnum_batch_threads { value: -1 }", ["f:1: max_batch_size", "f:2: num_batch_threads"]),
        ('prometheus_config { path: "x" }', ["f:1: prometheus_config.path"]),
        ('server_key: "a.key"\nclient_verify: true', ["f:1: server_key", "f:1: server_cert", "f:1: custom_ca"]),
        ("intra_op_parallelism_threads: x", ["f:1"]),
        ("\nplatform_configs { }", ["f:2: platform_configs: --platform_config_file is not supported"]),
        ("thread_pool_factory_config { }", ["f:1: thread_pool_factory_config: --thread_pool_factory_config_file is not"]),
    ],
)  # fmt: skip
def test_mistakes_of_parameter_files_have_line_and_field(text, mistakes) -> None:
    """As the server would report them at its start."""
    lines = found(text)

    assert len(lines) == len(mistakes)
    assert all(line.startswith(start) for line, start in zip(lines, mistakes, strict=True)), lines


def test_a_platform_file_without_fields_is_refused_too() -> None:
    """Named by its kind alone."""
    assert found("", FileKind.PLATFORM) == ["f: --platform_config_file is not supported"]


def test_session_fields_without_effect_are_warned_of() -> None:
    """Their flag is named, or they are not passed on."""
    checked = check_file("intra_op_parallelism_threads: 2\nno_such_field: 1", "f")

    assert checked.problems == ()
    assert [one.line for one in checked.warnings] == [1, 2]


@pytest.mark.parametrize("text", ["batch_timeout_micros { value: 5 }", "prometheus_config { enable: true }"])
def test_sound_parameter_files_have_no_findings(text) -> None:
    """Only mistakes and warnings are findings."""
    checked = check_file(text, "f")

    assert (checked.problems, checked.warnings) == ((), ())


def test_flags_in_the_settings_file_are_checked() -> None:
    """A value that is refused, one that cannot be read, and one without effect."""
    assert found("server:\n  port: 70000\n") == ["f: server.port: --port=70000 is not a TCP port (0 to 65535)"]
    assert len(found("server:\n  port: many\n")) == 1
    (warning,) = check_file("server:\n  num_unload_threads: 1\n", "f").warnings
    assert str(warning).startswith("f: server: --num_unload_threads has no effect")


def test_mistakes_of_the_settings_file_have_their_line() -> None:
    """All of them."""
    assert found("models:\n  m:\n    num_gpu: 1\n    labels: 3\n") != []
    assert [problem.line for problem in check_file("models:\n  m:\n    num_gpu: 1\n    labels: 3\n", "f").problems] == [
        3,
        4,
    ]


@pytest.mark.parametrize(
    ("args", "mistakes"),
    [
        ("model_base_path: /m, rest_api_enable_cors_support: true", []),
        ("model_base_path: /m, port: 70000", ["f: applications.router.args.port: --port=70000 is not"]),
        ("model_base_path: /m, prt: 1", ["f: applications.router.args.prt: is not a flag"]),
        ("model_base_path: /m, port: many", ["f: applications.router.args: Couldn't interpret value many"]),
    ],
)
def test_flags_in_a_config_of_serve_are_checked(args, mistakes) -> None:
    """Names and values; booleans as YAML has them."""
    lines = found(SERVE.format(args))

    assert len(lines) == len(mistakes)
    assert all(line.startswith(start) for line, start in zip(lines, mistakes, strict=True)), lines


@pytest.mark.parametrize(
    ("text", "start"),
    [
        ("applications: 3", "f: No application has import_path"),
        ("applications:\n- name: other", "f: No application has import_path"),
        ("applications: [", "f: while parsing"),
        (SERVE.format("").replace("{}", "5"), "f: applications.router.args: must be flags"),
    ],
)
def test_a_config_of_serve_that_is_not_ours_is_reported(text, start) -> None:
    """Nothing in it raises."""
    (line,) = found(text)

    assert line.startswith(start)


def test_the_samples_of_this_project_are_sound() -> None:
    """With the root of their relative paths, as `configs/app.yaml` gives it."""
    for name in ("app.yaml", "model_settings.yaml", "models.config"):
        file = ROOT / "configs" / name
        assert check_file(file.read_text(), str(file), relative_path_root="/x").problems == (), name


def checked(text: str, file: str) -> Checked:
    return check_file(text, file)


def test_files_are_checked_against_each_other() -> None:
    """What both say differently is a mistake; what neither uses is a warning."""
    models = checked(MODELS, "models.config")
    conflict = checked("models:\n  m:\n    base_path: /other\n", "s.yaml")
    unused = checked("models:\n  mm:\n    num_gpus: 1\n", "s.yaml")

    problems, _ = across([models, conflict])
    _, warnings = across([models, unused])

    assert [str(one) for one in problems] == [
        "s.yaml:3: models.m.base_path: differs from models.config; set it in only one of the two"
    ]
    assert [one.field for one in warnings] == ["models.mm"]


def test_without_a_pair_little_can_be_said() -> None:
    """A settings file alone may belong to any list; of its relative base paths a server needs to know the root."""
    relative = checked("models:\n  m: {base_path: rel}\n  n: {}\n", "s.yaml")
    problems, warnings = across([relative])
    assert problems == ()
    assert [str(one) for one in warnings] == [
        "s.yaml:2: models.m.base_path: is relative: the server needs --relative_path_root"
    ]
    assert across([relative], relative_path_root="/r") == ((), ())
    models = checked(MODELS, "models.config")
    assert across([models]) == ((), ())
    assert across([models, models, relative]) == ((), ())


def test_what_two_files_say_together_is_checked_although_each_has_mistakes() -> None:
    """Every mistake in one round: the second one needs both files, the others one of them."""
    models = checked(
        'model_config_list { config { name: "m" base_path: "/a" model_platform: "nope" } }', "models.config"
    )
    own = checked("models:\n  m: {base_path: /b, num_gpus: x}\n", "s.yaml")

    assert [one.field for one in (*models.problems, *own.problems)] == ["config[0].model_platform", "models.m.num_gpus"]
    assert [one.field for one in across([models, own])[0]] == ["models.m.base_path"]


def test_a_relative_base_path_is_a_warning_where_no_root_is_known() -> None:
    """The command line decides; with a root there is nothing to warn of, and an empty path is a mistake all the same."""
    text = 'model_config_list { config { name: "m" base_path: "rel" model_platform: "tensorflow" } }'

    alone, rooted = checked(text, "f"), check_file(text, "f", relative_path_root="/r")

    assert ([one.field for one in alone.warnings], alone.problems) == (["m.base_path"], ())
    assert (rooted.warnings, rooted.problems) == ((), ())
    assert len(checked(text.replace("rel", ""), "f").problems) == 1


SEVEN = """model_config_list {
  config { name: "a" base_path: "/a" model_platform: "tensorflow" model_version_policy { latest { num_versions: -1 } } }
  config { nam: "b" base_path: "/b" }
  config { name: "c" base_path: 3 model_platform: "tensorflow" }
  config { name: "d" base_path: "/d" model_platform: "tensorflow" version_labels { key: "x" value: "y" } }
  config { name: "a" base_path: "/e" model_platform: "nope" }
}
"""


def test_mistakes_of_form_do_not_hide_others() -> None:
    """Four rounds for seven mistakes was one of the things that newcomers met."""
    found = checked(SEVEN, "f").problems

    assert [one.line for one in found] == [2, 3, 3, 3, 4, 5, 6, 6]
    assert ["config[2].base_path" in str(one) for one in found] == [False] * 8, "its form is wrong, it is not missing"


@pytest.mark.parametrize(
    ("kind", "text", "lines"),
    [
        (FileKind.BATCHING, "max_batch_size { value: 0 }\nnope: 1\nnum_batch_threads { value: x }", [1, 2, 3]),
        (FileKind.MONITORING, 'prometheus_config {\n enable: 3\n path: "x" }', [2, 3]),
        (FileKind.SSL, 'server_key: "k"\nclient_verify: 7\nserver_cert: "c"', [1, 2, 3]),
    ],
)
def test_every_kind_of_file_tells_all_its_mistakes_at_once(kind, text, lines) -> None:
    """Those of form and those of content."""
    assert sorted(one.line for one in check_file(text, "f", kind).problems) == lines


@pytest.mark.parametrize("blank", ["\n", "# nothing\n", "  "])
def test_a_blank_file_is_named_whatever_it_is(blank: str) -> None:
    """A list of models must say something; of the others a running server keeps what they said."""
    (unknown,) = check_file(blank, "f").problems
    (models,) = check_file(blank, "f", FileKind.MODELS).problems
    assert unknown.message.startswith("says nothing")
    assert "model_config_list is missing" in models.message

    for kind in (FileKind.SETTINGS, FileKind.BATCHING, FileKind.MONITORING, FileKind.SESSION):
        checked = check_file(blank, "f", kind)
        assert (checked.problems, ["says nothing" in one.message for one in checked.warnings]) == ((), [True]), kind
    assert check_file("model_config_list {}", "f").problems == ()
    assert check_file("models: {}", "s.yaml").warnings == ()
