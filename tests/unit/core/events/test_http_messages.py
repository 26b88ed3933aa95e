"""Events as HTTP requests, read back by CloudEvents' own package."""

from __future__ import annotations

import json

import pytest
from cloudevents.core.bindings.http import HTTPMessage, from_http_event
from hypothesis import given
from hypothesis import strategies as st

from core.events.http_messages import EventLine, http_message, most_events, packed_events, unpacked_events
from core.events.settings import EventMode, EventSettings

ABOUT = {
    "specversion": "1.0",
    "id": "i",
    "source": "/s",
    "type": "t",
    "time": "2026-11-30T12:00:00Z",
    "datacontenttype": "application/json",
}
BINARY, ONE, MANY = EventSettings(EventMode.BINARY), EventSettings(batch_size=1), EventSettings(batch_size=10)


def line(data: object = 1, **attributes: str) -> EventLine:
    return EventLine.of({**ABOUT, **attributes}, json.dumps(data).encode())


@pytest.mark.parametrize("settings", [BINARY, ONE])
@pytest.mark.parametrize("name", ["plain", "größe", 'a "b" 100%', "a b\tc", "モデル", "😀"])
def test_one_event_is_read_back(settings, name) -> None:
    """Attributes of any characters, and data."""
    message = http_message([line({"x": [1.5, name]}, inferenceservicename=name)], settings)

    event = from_http_event(HTTPMessage(dict(message.headers), message.body))
    assert (event.get_id(), event.get_type(), event.get_source()) == ("i", "t", "/s")
    assert event.get_extension("inferenceservicename") == name
    assert event.get_data() == {"x": [1.5, name]}
    assert (message.count, all(text.isascii() and text.isprintable() for text in message.headers.values())) == (1, True)


def test_the_forms_have_their_types() -> None:
    """As the HTTP binding names them; a batch is a batch also with one event in it."""
    types = [http_message([line()], one).headers["content-type"] for one in (BINARY, ONE, MANY)]

    assert types == ["application/json", "application/cloudevents+json", "application/cloudevents-batch+json"]
    assert [most_events(one) for one in (BINARY, ONE, MANY)] == [1, 1, 10]


def test_a_batch_is_a_list_of_events() -> None:
    """In their order."""
    message = http_message([line(number, id=str(number)) for number in range(3)], MANY)

    assert message.count == 3
    assert json.loads(message.body) == [{**ABOUT, "id": str(number), "data": number} for number in range(3)]


@given(st.lists(st.tuples(st.text(max_size=10), st.text(max_size=10)), min_size=1, max_size=3))
def test_packed_events_are_unpacked_as_they_were(texts) -> None:
    """Tabs and line feeds in them included."""
    lines = [EventLine.of({**ABOUT, "subject": subject}, json.dumps(data).encode()) for subject, data in texts]

    assert unpacked_events(packed_events(lines)) == lines
