"""What a scrape asks for: formats, names and packing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.exposition import choose_encoder

from core.exposition.scrape import Scrape, read_scrape

PROMETHEUS = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,"
    "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)
"""What Prometheus 3 sends."""


def content_type(accept: str) -> str:
    """Return the type that the library chooses."""
    return choose_encoder(read_scrape("/metrics", accept, "").accept)[1]


TEXT = "text/plain; version=0.0.4; charset=utf-8"
TEXT_1 = "text/plain; version=1.0.0; charset=utf-8; escaping="
OPEN = "application/openmetrics-text; version=1.0.0; charset=utf-8"


@pytest.mark.parametrize(("accept", "chosen"), [
    ("", TEXT),
    ("*/*", TEXT),
    ("text/html,application/xhtml+xml,*/*;q=0.8", TEXT),
    ("text/plain", TEXT),
    ("text/plain;version=0.0.4", TEXT),
    ("text/plain; version=1.0.0; escaping=allow-utf-8", TEXT_1 + "allow-utf-8"),
    ("text/plain;version=1.0.0", TEXT_1 + "underscores"),
    ("application/openmetrics-text", OPEN),
    ("Application/OpenMetrics-Text; Version=1.0.0", OPEN + "; escaping=underscores"),
    ('application/openmetrics-text;version="1.0.0"', OPEN + "; escaping=underscores"),
    (PROMETHEUS, OPEN + "; escaping=allow-utf-8"),
    ("text/plain;charset=utf-8,application/openmetrics-text;q=0.5", TEXT),
    ("text/plain;escaping=underscores,application/openmetrics-text;q=0.5", TEXT),
    ("text/plain;version=0.0.4;escaping=allow-utf-8,text/plain;version=1.0.0;q=0.5", TEXT),
    ("text/*,application/openmetrics-text;q=0.5", TEXT),
    ("*/*,application/openmetrics-text;version=1.0.0;q=0.9", TEXT),
    ("*/*;q=0.1,application/openmetrics-text;q=0.9", OPEN),
])  # fmt: skip
def test_the_format_is_what_the_client_reads(accept, chosen) -> None:
    """The oldest text where nothing else is asked for."""
    assert content_type(accept) == chosen


def test_what_the_client_likes_best_comes_first_however_it_lists_them() -> None:
    """The library takes the first one that it knows."""
    assert content_type("text/plain;version=1.0.0;q=0.1,application/openmetrics-text;version=1.0.0;q=0.9").startswith(
        OPEN
    )
    assert content_type("application/openmetrics-text;version=1.0.0;q=0,text/plain;version=0.0.4") == TEXT
    assert content_type("text/plain;version=0.0.4,application/openmetrics-text;version=1.0.0;q=0.9") == TEXT
    assert content_type("application/openmetrics-text;q=0.1,text/plain") == TEXT
    assert content_type("application/openmetrics-text;q=much").startswith(OPEN)


@pytest.mark.parametrize("version", ["2.0.0", "99.0", "1.0.0.evil", "x", "1.0.0é"])
def test_a_version_that_is_not_written_is_not_promised(version) -> None:
    """The library would answer with the type that the client named."""
    assert content_type(f"application/openmetrics-text;version={version}") == TEXT
    assert content_type(f"text/plain;version={version}") == TEXT


@pytest.mark.parametrize("scheme", ["dots", "values", "nonsense"])
def test_escaping_schemes_under_which_the_library_tears_names_are_not_taken(scheme) -> None:
    """The type of the answer says which one it has."""
    assert (
        content_type(f"application/openmetrics-text;version=1.0.0;escaping={scheme}") == OPEN + "; escaping=underscores"
    )


@pytest.mark.parametrize(("sent", "zipped"), [
    ("", False), ("gzip", True), ("GZIP", True), ("deflate, gzip;q=1.0, *;q=0.5", True), ("gzip;q=0", False),
    ("gzip; q=0.0", False), ("br", False), ("xgzip", False),
])  # fmt: skip
def test_the_answer_is_zipped_only_for_who_asks(sent, zipped) -> None:
    """And not for who says that it cannot be read."""
    assert read_scrape("/metrics", "", sent).zipped is zipped


def test_names_restrict_the_page() -> None:
    """As many as are given, each once; other parameters are left alone."""
    assert read_scrape("/metrics?name[]=a&x=1&name%5B%5D=b&name[]=a#name[]=c", "", "") == Scrape("", ("a", "b"))
    assert read_scrape("/metrics?name[]=", "", "").names == ()
    assert read_scrape("/metrics?" + "&".join(["name[]=a"] * 2000), "", "").names == ()


@given(st.text(max_size=80), st.text(alphabet="/metrics?name[]=%&;,. q0x", max_size=80), st.text(max_size=40))
def test_nothing_that_is_sent_is_an_error(accept, target, coding) -> None:
    """And what comes of it is a header that can be written."""
    scrape = read_scrape(target, accept, coding)

    assert choose_encoder(scrape.accept)[1].isascii()
