"""Parsing of protobuf text files."""

from __future__ import annotations

import pytest

from core.config.text_format import parse_text_message
from core.errors import ConfigError
from core.protos import model_config_pb2


def problems_of(text: str) -> tuple[tuple[int | None, str], ...]:
    """Return line and field of every problem of a ModelServerConfig text."""
    with pytest.raises(ConfigError) as raised:
        parse_text_message(text, model_config_pb2.ModelServerConfig(), "models.config")
    return tuple((problem.line, problem.field) for problem in raised.value.problems)


def test_case_J27_a_text_that_is_no_config_is_refused_with_place_and_reason() -> None:
    """The text is the one operators know from TensorFlow Serving."""
    with pytest.raises(ConfigError) as raised:
        parse_text_message("improperly formatted file", model_config_pb2.ModelServerConfig(), "models.config")

    text = str(raised.value)
    assert "Error parsing text-format tensorflow.serving.ModelServerConfig: 1:1: " in text
    assert "Invalid protobuf file: 'models.config'" in text
    assert "ray_model_server" not in text


def test_all_unknown_fields_are_reported_at_once() -> None:
    """One run shows every misspelt name, with a guess."""
    text = 'model_config_list {\n config { nam: "a" }\n config { base_pth: "x" } }\nother: 1'

    assert problems_of(text) == ((2, "nam"), (3, "base_pth"), (4, "other"))


def test_an_unknown_field_does_not_hide_another_mistake() -> None:
    """The first mistake of another kind is reported beside the unknown fields."""
    assert problems_of('model_config_list { config { name: 3 }\n config { nam: "a" } }') == ((2, "nam"), (1, ""))


def test_unknown_fields_can_be_allowed() -> None:
    """They are left out then."""
    message, places = parse_text_message(
        "model_config_list { } other { a: 1 }", model_config_pb2.ModelServerConfig(), allow_unknown=True
    )

    assert message.HasField("model_config_list")
    assert places.has("other")


def test_contents_of_any_are_not_judged() -> None:
    """The type inside an Any is not known here, so that the library's own text is the answer."""
    assert problems_of("custom_model_config { [type.googleapis.com/foo.Bar] { a: 1 } }") == ((1, ""),)


@pytest.mark.parametrize("text", ["", "model_config_list {" * 5000, "model_config_list { config { name: '\ud800' } }"])
def test_hopeless_texts_are_one_problem(text: str) -> None:
    """Empty, endlessly nested and unencodable texts are refused, not crashed on."""
    assert len(problems_of(text)) == 1


def test_a_long_line_is_not_repeated_in_the_problem() -> None:
    """A log line stays a log line."""
    with pytest.raises(ConfigError) as raised:
        parse_text_message(
            "model_config_list { " + "config { } " * 10_000 + " config: 3 }", model_config_pb2.ModelServerConfig()
        )

    assert len(str(raised.value)) < 500
