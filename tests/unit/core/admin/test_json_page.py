"""JSON documents as pages."""

from __future__ import annotations

import json

from core.admin.json_page import json_page


def test_a_page_is_indented_and_ends_with_a_line_break() -> None:
    """People read it in a terminal."""
    assert json_page({"a": [1]}) == b'{\n  "a": [\n    1\n  ]\n}\n'


def test_a_page_keeps_the_characters_of_names() -> None:
    """A model's name is shown as it was written."""
    assert json.loads(json_page({"name": "Bäume"})) == {"name": "Bäume"}
    assert "Bäume".encode() in json_page({"name": "Bäume"})


def test_bytes_that_are_not_utf8_show_as_question_marks() -> None:
    """A directory's name may hold any byte, and the page must still be valid."""
    assert json.loads(json_page({"name": "a\udcff"})) == {"name": "a?"}
