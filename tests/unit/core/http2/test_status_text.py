"""Tests of error texts for gRPC callers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.http2.grpc_heads import status_text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("x" * 3000, "x" * 1024 + "...TRUNCATED", id="case_F22"),
        pytest.param("x" * 1025, "x" * 1024 + "...TRUNCATED", id="one byte too long"),
        pytest.param("x" * 1024, "x" * 1024, id="just fits"),
        pytest.param("", "", id="empty"),
        pytest.param("x" * 1023 + "ß", "x" * 1023 + "...TRUNCATED", id="a character at the cut"),
        pytest.param("\ud800", "?", id="not text"),
    ],
)
def test_a_long_text_is_cut(text, expected) -> None:
    """The limit counts bytes, and a character is never cut in two."""
    assert status_text(text) == expected


@given(st.text("aß☃𝄞", min_size=300, max_size=400))
def test_a_cut_text_is_text(text) -> None:
    """What is sent is always valid UTF-8 of bounded length, and starts like the whole."""
    sent = status_text(text)

    assert len(sent.encode()) <= 1024 + len("...TRUNCATED")
    assert text.startswith(sent.removesuffix("...TRUNCATED"))
