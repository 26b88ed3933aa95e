"""The parts of the status at a terminal; the whole is compared with its document in `test_status_document`."""

from __future__ import annotations

import pytest

from core.admin.status_text import duration, latency, printable, rate, requests_text, table, traffic_texts


@pytest.mark.parametrize(
    ("per_s", "text"), [(0, "0.0"), (0.034, "0.03"), (1, "1.0"), (99.94, "99.9"), (1234.5, "1234")]
)
def test_a_rate_has_the_digits_that_matter(per_s: float, text: str) -> None:
    """So that columns stay narrow."""
    assert rate(per_s) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(None, ""), (0.00042, "0.42 ms"), (0.0999, "100 ms"), (1.5, "1.50 s"), (60.0, "60.00 s")]
)
def test_a_latency_has_the_digits_that_matter(seconds: float | None, text: str) -> None:
    """And its unit."""
    assert latency(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-5, "0 s"), (0.9, "0 s"), (59, "59 s"), (60, "1 min"), (61, "1 min 1 s"), (7260, "2 h 1 min"), (90000, "1 d 1 h"), (86400, "1 d")],
)  # fmt: skip
def test_durations_are_short(seconds, text) -> None:
    """Two units at most."""
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("traffic", "texts"),
    [
        (None, ("", "", "")),
        ({"requests_per_s": 2.0, "p50_s": 0.001, "p99_s": 1.5}, ("2.0", "1.00 ms", "1.50 s")),
        ({"requests_per_s": 0.0, "p50_s": None, "p99_s": None, "errors_per_s": 0.0}, ("0.0", "", "")),
        ({"requests_per_s": 2.0, "p50_s": None, "p99_s": None, "errors_per_s": 0.5}, ("2.0 (0.50 errors)", "", "")),
    ],
)
def test_traffic_is_three_texts(traffic: dict | None, texts: tuple[str, str, str]) -> None:
    """Empty where there is none; errors only where there are some."""
    assert traffic_texts(traffic) == texts
    assert traffic is None or requests_text(traffic) == texts[0]


def test_columns_are_as_wide_as_their_longest_text() -> None:
    """Without blanks at the ends of lines, which terminals would wrap."""
    assert table(("A", "LONG", "B"), [("one", "2", ""), ("", "", "x")]) == "A    LONG  B\none  2\n           x"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("a\x1b[31mb", "a [31mb"),
        ("a\nb\u202e", "a b "),
        ({"k": ["\x00", 1, None, True]}, {"k": [" ", 1, None, True]}),
        ("Bäume 木", "Bäume 木"),
    ],
)
def test_control_characters_do_not_reach_the_terminal(value: object, shown: object) -> None:
    """Names and error texts come from files and clients."""
    assert printable(value) == shown
