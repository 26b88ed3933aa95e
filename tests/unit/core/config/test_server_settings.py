"""Settings of the server: they travel to every process, and keep secrets to themselves."""

from __future__ import annotations

import pickle
from dataclasses import FrozenInstanceError, fields

import pytest

from core.config.parameter_files import SslConfig
from core.config.server_settings import ServerSettings, TracingSettings


def test_settings_survive_the_trip_to_another_process() -> None:
    """Ray pickles them."""
    settings = ServerSettings(tracing=TracingSettings(environment=(("OTEL_SERVICE_NAME", "x"),)))

    assert pickle.loads(pickle.dumps(settings)) == settings


@pytest.mark.parametrize(
    "value",
    [
        SslConfig(server_key="secret"),
        ServerSettings(tracing=TracingSettings(environment=(("OTEL_EXPORTER_OTLP_HEADERS", "key=secret"),))),
    ],
)
def test_keys_and_headers_are_not_printed(value: object) -> None:
    """Settings end up in logs."""
    assert "secret" not in repr(value)


@pytest.mark.parametrize("group", [one.name for one in fields(ServerSettings)])
def test_no_setting_can_be_changed_after_the_start(group: str) -> None:
    """Every process has the same ones."""
    settings = ServerSettings()
    name = fields(getattr(settings, group))[0].name

    with pytest.raises(FrozenInstanceError):
        setattr(settings, group, None)
    with pytest.raises(FrozenInstanceError):
        setattr(getattr(settings, group), name, None)
