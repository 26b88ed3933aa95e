"""Records of our logs as lines of JSON and of text."""

from __future__ import annotations

import json
import logging
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.telemetry.log_lines import ANNOUNCED, LONGEST_VALUE, LineFormatter, LineStyle, announced, iso_time
from core.telemetry.redaction import HIDDEN

AT_S = 1_700_000_000.25


def record(message: str, *arguments: object, **extra: object) -> logging.LogRecord:
    """Make a record as `logging` does."""
    made = logging.makeLogRecord({"msg": message, "args": arguments, "levelno": 20, "levelname": "INFO", **extra})
    made.created = AT_S
    return made


def as_json(message: str, *arguments: object, **extra: object) -> dict:
    return json.loads(LineFormatter("watcher", LineStyle.JSON).format(record(message, *arguments, **extra)))


def as_text(message: str, *arguments: object, **extra: object) -> str:
    return LineFormatter("watcher", LineStyle.TEXT).format(record(message, *arguments, **extra))


def test_a_message_of_ours_becomes_an_object_with_its_fields() -> None:
    """Numbers stay numbers, with the digits that the message asks for."""
    line = as_json("version_loaded model=%s version=%d load_s=%.3f", "m", 3, 0.12345)

    assert line == {
        "time": "2023-11-14T22:13:20.250Z",
        "level": "info",
        "process": "watcher",
        "event": "version_loaded",
        "model": "m",
        "version": 3,
        "load_s": 0.123,
    }


def test_a_message_of_ours_becomes_a_line_of_text() -> None:
    """Time, level, process and event come first, and a value with a blank is quoted."""
    line = as_text("storage_problem model=%s problem=%s", "m", "no such folder")

    assert line == '2023-11-14T22:13:20.250Z INFO watcher storage_problem model=m problem="no such folder"'


@given(st.text())
def test_a_value_may_hold_any_character(value: str) -> None:
    """A line stays one line, and what looks like a field inside of a value is none."""
    line = as_text("tick_failed error=%r", f"x=1 {value} token_count=3")
    fields = as_json("tick_failed error=%r", f"a=1 {value}")

    assert len(line.splitlines()) == 1
    assert set(fields) == {"time", "level", "process", "event", "error"}


@pytest.mark.parametrize(
    ("message", "arguments", "text"),
    [
        ("something else happened: %s", ("x",), "something else happened: x"),
        (
            "certificate_not_reloaded file=%s error=a new start",
            ("f",),
            "certificate_not_reloaded file=f error=a new start",
        ),
        ("version_loaded model=%s", (), "version_loaded model=%s ()"),
    ],
)
def test_another_message_is_kept_as_text(message: str, arguments: tuple, text: str) -> None:
    """Also one whose arguments do not fit."""
    assert as_json(message, *arguments)["text"] == text
    assert as_json(message, *arguments)["event"] == "message"


def test_no_field_stands_for_what_every_line_has() -> None:
    """A field of that name gets another one."""
    line = as_json("tick_failed level=%s", "odd")

    assert (line["level"], line["level_"]) == ("info", "odd")


def test_a_record_can_be_announced() -> None:
    """The process then shows it at its terminal, too."""
    made = logging.LogRecord("deployments", logging.INFO, "", 0, "quiet", (), None)
    made.__dict__.update(announced())

    assert getattr(made, ANNOUNCED)


def test_a_field_named_like_a_secret_is_hidden() -> None:
    """A line that holds it by mistake shows nothing; the rule is that of the redaction."""
    assert as_json("greeted auth_token=%s", "s3cr3t")["auth_token"] == HIDDEN


def test_a_secret_inside_of_a_text_is_hidden() -> None:
    """Error texts of storage libraries may show addresses with credentials."""
    line = as_text("storage_retry failures=%d error=%s", 1, "s3://user:s3cr3t@bucket/m")

    assert "s3cr3t" not in line
    assert f"s3://{HIDDEN}@bucket/m" in line


@pytest.mark.parametrize(
    ("wall_s", "text"),
    [(0.0, "1970-01-01T00:00:00.000Z"), (1.25, "1970-01-01T00:00:01.250Z"), (AT_S, "2023-11-14T22:13:20.250Z")],
)
def test_a_time_is_written_in_utc_with_milliseconds(wall_s: float, text: str) -> None:
    """Lines of several processes and the status document sort and compare as texts."""
    assert iso_time(wall_s) == text


def test_a_long_value_is_cut() -> None:
    """An error text with a whole body in it does not fill the disk."""
    assert len(as_json("tick_failed error=%s", "x" * 100_000)["error"]) == LONGEST_VALUE


def test_an_exception_is_one_field() -> None:
    """Its traceback does not break the line."""
    try:
        int("wrong")
    except ValueError:
        failure = sys.exc_info()

    line = as_text("call_failed method=%s", "PREDICT", exc_info=failure)

    assert len(line.splitlines()) == 1
    assert "ValueError: invalid literal" in line


def test_fields_without_a_value_are_left_out_of_text() -> None:
    """An empty error says nothing to a person; tools get every field."""
    assert as_text("version_state model=%s error=%s", "m", "").endswith("version_state model=m")
    assert as_json("version_state model=%s error=%s", "m", None)["error"] is None
