"""Parsing of protobuf text files."""

from __future__ import annotations

import pytest
from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st

from core.errors import ConfigError
from core.formats.text_format import parse_text_message
from core.formats.text_outline import DEEPEST, Outline, outline
from core.protos import model_config_pb2, session_file_pb2


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


@pytest.mark.parametrize(
    ("message", "name"),
    [
        (model_config_pb2.BatchingParameters(), "tensorflow.serving.BatchingParameters"),
        (model_config_pb2.MonitoringConfig(), "tensorflow.serving.MonitoringConfig"),
        (model_config_pb2.SSLConfig(), "tensorflow.serving.SSLConfig"),
        (session_file_pb2.ConfigProto(), "tensorflow.ConfigProto"),
    ],
)
def test_every_text_file_is_named_as_tensorflow_serving_names_its_message(message: Message, name: str) -> None:
    """Scripts search for it on stderr."""
    with pytest.raises(ConfigError) as raised:
        parse_text_message("improperly { formatted }", message, "a.config")

    assert f"Error parsing text-format {name}: 1:1: " in str(raised.value)
    assert f'Message type "{name}" has no field named "improperly".' in str(raised.value)


def test_all_unknown_fields_are_reported_at_once() -> None:
    """One run shows every misspelt name, with a guess."""
    text = 'model_config_list {\n config { nam: "a" }\n config { base_pth: "x" } }\nother: 1'

    assert problems_of(text) == ((2, "nam"), (3, "base_pth"), (4, "other"))


def test_an_unknown_field_does_not_hide_another_mistake() -> None:
    """The first mistake of another kind is reported beside the unknown fields."""
    assert problems_of('model_config_list { config { name: 3 }\n config { nam: "a" } }') == ((1, ""), (2, "nam"))


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


def described(place: Outline) -> list[object]:
    """Return names, lines and columns as nested lists."""
    return [(one.name, one.line, one.column, described(one)) for one in place.fields]


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("a: 1", [("a", 1, 1, [])]),
        ("a: 1\n  b { c: 'x' }", [("a", 1, 1, []), ("b", 2, 3, [("c", 2, 7, [])])]),
        ("a: <b: 1; c: 2,>", [("a", 1, 1, [("b", 1, 5, []), ("c", 1, 11, [])])]),
        ("# a: 1\nb: - inf c: true", [("b", 2, 1, []), ("c", 2, 10, [])]),
        ("""a: "x { b: 1 }" 'y' b: "\\"c: 1" """, [("a", 1, 1, []), ("b", 1, 21, [])]),
        ("a: [x, y] b: 1", [("a", 1, 1, []), ("b", 1, 11, [])]),
        ("a: [{b: 1},\n {c: 2}]", [("a", 1, 1, [("b", 1, 6, [])]), ("a", 2, 2, [("c", 2, 3, [])])]),
        ("no field here", []),
        ("a: 1 } b: 2", [("a", 1, 1, [])]),
        ("{ a: 1", []),
        ("a: 1 ? b: 2", [("a", 1, 1, [])]),
        ("a { b: 1 > c: 1", [("a", 1, 1, [("b", 1, 5, [])])]),
        ("]: 1 a: 2", [("a", 1, 6, [])]),
    ],
)
def test_fields_are_found_where_they_stand(text: str, fields: list[object]) -> None:
    """Names count as fields when a value follows; the scan ends where the text stops making sense."""
    assert described(outline(text)[0]) == fields


def test_places_are_found_by_path() -> None:
    """The line of a missing field is that of the nearest field around it."""
    place, _ = outline("a {\n b {\n c: 1 } }\na { }")

    assert place.line_of("a", "b", "c") == 3
    assert place.line_of("a", "b", "x") == 2
    assert place.has("a", "b", "c")
    assert not place.has("x", "b", "c")
    assert len(place.each("a")) == 2


def test_depth_is_bounded() -> None:
    """A file of opening braces costs no more than the deepest sensible one."""
    assert outline("a{" * 100_000)[1] == DEEPEST + 1


@given(st.text(alphabet="ab{}<>[]:,;'\"\\# \n-1", max_size=200))
def test_any_text_can_be_scanned(text: str) -> None:
    """The scan never fails."""
    outline(text)
