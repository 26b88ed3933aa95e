"""Texts of errors in a model's code."""

from __future__ import annotations

import json

import pytest

from core.platforms.code_faults import LONGEST_FAULT, error_text, fault_text, own_text


class Odd(Exception):
    """An error that cannot be printed."""

    def __str__(self) -> str:
        raise RuntimeError


def fault(source: str, file: str, folder: str) -> str:
    """Run a source as a file of a model, and return what is told of its error."""
    try:
        exec(compile(source, file, "exec"), {"json": json})
    except Exception as error:  # noqa: BLE001
        return fault_text(error, folder)
    raise AssertionError("it did not fail")


def test_the_innermost_line_of_the_models_own_code_is_told() -> None:
    """The lines of a library inside say less."""
    told = fault("def read():\n    json.loads('{')\n\nread()", "/m/1/model.py", "/m/1")

    assert told.startswith("/m/1/model.py, line 2, in read: JSONDecodeError: ")


def test_without_a_line_of_its_own_the_innermost_is_told() -> None:
    """Such as for a method that was called with too many arguments."""
    assert fault("1 / 0", "/elsewhere/x.py", "/m/1") == (
        "/elsewhere/x.py, line 1, in <module>: ZeroDivisionError: division by zero"
    )


def test_a_syntax_error_has_a_place_of_its_own() -> None:
    """It has no frame in the file that it is about."""
    assert fault("x = 1\n1 +", "/m/1/model.py", "/m/1") == "/m/1/model.py, line 2: SyntaxError: invalid syntax"


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ValueError("a"), "ValueError: a"),
        (ValueError(), "ValueError"),
        (Odd(), "Odd: (its text cannot be had)"),
        (KeyError("k"), "KeyError: 'k'"),
    ],
)
def test_any_error_can_be_told(error: Exception, told: str) -> None:
    """Whatever its own methods do."""
    assert error_text(error) == told
    assert fault_text(error, "/m") == told


def test_a_long_text_is_cut() -> None:
    """Libraries print whole arrays."""
    assert len(own_text(ValueError("x" * 10_000))) == LONGEST_FAULT
