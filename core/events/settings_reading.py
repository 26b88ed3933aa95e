"""Reads the settings of events from our YAML file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from core.events.settings import EventMode, EventSettings, LoggedParts, event_problems
from core.formats.yaml_reading import Reader, YamlEntry, choice, decimal, section, text, whole

_READERS: Final[Mapping[str, Reader]] = {
    "mode": choice({one.value: one for one in EventMode}),
    "log": choice({one.value: one for one in LoggedParts}),
    "batch_size": whole(1, 10_000),
    "batch_interval_s": decimal(0, 3600),
    "timeout_s": decimal(0.01, 3600),
    "max_attempts": whole(1, 100),
    "max_waiting_bytes": whole(1),
    **dict.fromkeys(("ca_file", "authorization_env", "authorization_file"), text),
    **dict.fromkeys(("inference_service", "namespace", "component", "endpoint"), text),
}


def event_settings(entry: YamlEntry) -> Any:
    """Read the section `events` of a request log; mistakes are added to the entry's."""
    settings = EventSettings(**section(_READERS)(entry))
    for name, message in event_problems(settings):
        entry.at(name).mistake(message)
    return settings
