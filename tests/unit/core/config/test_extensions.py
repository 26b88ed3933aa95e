"""What configurations may name: entries of `op_libraries`."""

from __future__ import annotations

import pytest

from core.config.arguments import ArgumentsOutcome, parse_flags
from core.config.extensions import op_library_problem
from core.config.yaml_settings import read_yaml_settings
from core.errors import ConfigError

GOOD = ("/opt/ops/custom.so", "/opt/ops/custom.so.2", "/with space/ö.so", "tensorflow-text", "ydf_tf", "a", "my.ops")
BAD = (
    "custom.so",
    "./custom.so",
    "ops/custom.so",
    "~/custom.so",
    "s3://b/x.so",
    "file:///x.so",
    "",
    " ",
    "-r",
    "a b",
    "/a\0b",
)


@pytest.mark.parametrize("entry", GOOD)
def test_libraries_are_absolute_paths_or_names_of_packages(entry: str) -> None:
    """Whether they are there, only the node knows that serves."""
    assert op_library_problem(entry) is None


@pytest.mark.parametrize("entry", BAD)
def test_any_other_text_is_a_mistake(entry: str) -> None:
    """A path without a beginning means another file in each process."""
    problem = op_library_problem(entry)

    assert problem is not None
    assert problem.endswith(f"was {entry!r}")


def test_the_flag_takes_several() -> None:
    """With commas between, and blanks around."""
    parsed = parse_flags(["--model_base_path=/m", "--op_libraries=/a.so, ydf-tf ,"])

    assert parsed.settings is not None
    assert parsed.settings.platforms.op_libraries == ("/a.so", "ydf-tf")


def test_a_relative_path_in_the_flag_ends_the_start() -> None:
    """With the entry in the text."""
    parsed = parse_flags(["--model_base_path=/m", "--op_libraries=/a.so,b.so"])

    assert parsed.outcome is ArgumentsOutcome.REFUSED
    assert "--op_libraries must be the absolute path of a library" in parsed.output
    assert "'b.so'" in parsed.output


def test_the_settings_file_takes_a_list_for_each_model() -> None:
    """That of the defaults is for the models that have none."""
    own = read_yaml_settings(
        "defaults:\n  op_libraries: [/d.so]\nmodels:\n  m: {op_libraries: [/m.so, ydf-tf]}\n  n: {}\n"
    )

    assert own.models["m"].op_libraries == ("/m.so", "ydf-tf")
    assert own.models["n"].op_libraries == ("/d.so",)


@pytest.mark.parametrize(
    ("entry", "text"),
    [
        ("[a.so]", "must be the absolute path"),
        ("/a.so", "must be a list"),
        ("[1]", "must be a text"),
        ("[[/a.so]]", "text"),
    ],
)
def test_a_mistake_in_the_settings_file_has_its_line(entry: str, text: str) -> None:
    """And the field."""
    with pytest.raises(ConfigError) as failed:
        read_yaml_settings(f"models:\n  m:\n    op_libraries: {entry}\n", "s.yaml")

    (problem,) = failed.value.problems
    assert (problem.line, problem.file) == (3, "s.yaml")
    assert problem.field.startswith("models.m.op_libraries")
    assert text in problem.message
