"""Settings of events, and their mistakes."""

from __future__ import annotations

import pytest

from core.events.settings import EventSettings, event_problems, sink_problem


@pytest.mark.parametrize(
    "url", ["http://sink", "https://sink.example:8443/a/b?c=d", "http://127.0.0.1:80/", "http://[::1]:8080/x"]
)
def test_urls_of_sinks(url) -> None:
    """Of http and https."""
    assert sink_problem(url) == ""


@pytest.mark.parametrize("url", [
    "", "/logs/m", "sink:80", "ftp://sink/", "http://", "http:///x", "https://:80", "http://sink:0/", "http://sink:99999/",
    "http://sink:x/", "http://[::1", "http://si nk/", "http://sink/ü", "http://sink/a\nb", "http://sink/#x", "file:///x",
    "HTTPS//sink", "http://user:secret@sink/", "http://secret@sink/",
])  # fmt: skip
def test_what_is_no_url_of_a_sink_is_refused(url) -> None:
    """Before anything is sent; a password is never in the text."""
    assert sink_problem(url)
    assert "secret" not in sink_problem(url)


def test_settings_that_contradict_each_other() -> None:
    """With the field that is wrong."""
    both = EventSettings(authorization_env="A", authorization_file="/f", ca_file="ca.pem", namespace="a\nb")

    assert [field for field, _ in event_problems(both)] == ["authorization_file", "ca_file", "namespace"]
    assert list(event_problems(EventSettings())) == []
