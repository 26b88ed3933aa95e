"""Switch and path of the page with metrics, from flag and file."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.config.arguments import parse_flags
from core.config.server_settings import ModelSourceSettings, MonitoringConfig, MonitoringSettings, ServerSettings
from core.errors import ConfigError
from deployments.config.startup_settings import checked, monitoring

DEFAULT = "/monitoring/prometheus/metrics"


def settings(file: str) -> ServerSettings:
    """Return settings with a monitoring file."""
    return ServerSettings(source=ModelSourceSettings(model_base_path="/m"), monitoring=MonitoringSettings(file))


def test_the_page_is_there_by_default() -> None:
    """TensorFlow Serving has none without a file."""
    assert monitoring(settings("")) == MonitoringConfig(prometheus_enabled=True, prometheus_path=DEFAULT)


@pytest.mark.parametrize(("text", "expected"), [
    ("prometheus_config { enable: true }", MonitoringConfig(prometheus_enabled=True, prometheus_path=DEFAULT)),
    ('prometheus_config { enable: true path: "/metrics" }', MonitoringConfig(prometheus_enabled=True, prometheus_path="/metrics")),
    ("prometheus_config { enable: false }", MonitoringConfig(prometheus_enabled=False, prometheus_path=DEFAULT)),
    ("prometheus_config {}", MonitoringConfig(prometheus_enabled=False, prometheus_path=DEFAULT)),
])  # fmt: skip
def test_a_file_decides_everything(tmp_path: Path, text, expected) -> None:
    """One that does not say `enable: true` switches the page off, as in TensorFlow Serving."""
    (tmp_path / "monitoring.config").write_text(text)

    assert monitoring(settings(str(tmp_path / "monitoring.config"))) == expected


def test_the_flag_names_the_file() -> None:
    """Under TensorFlow Serving's name."""
    parsed = parse_flags(["--model_base_path=/m", "--monitoring_config_file=monitoring.config"])

    assert parsed.settings is not None
    assert (parsed.settings.monitoring.config_file, parsed.warnings) == ("monitoring.config", ())


def test_the_file_is_found_from_where_the_server_was_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Replicas run elsewhere."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "monitoring.config").write_text("prometheus_config { enable: true }")

    absolute, _ = checked(settings("monitoring.config"))

    assert absolute.monitoring.config_file == str(tmp_path / "monitoring.config")


@pytest.mark.parametrize("text", ["nonsense", "", 'prometheus_config { path: "metrics" }', None])
def test_mistakes_end_the_start(tmp_path: Path, text) -> None:
    """A broken file, a path without a slash, no file at all."""
    file = tmp_path / "monitoring.config"
    if text is not None:
        file.write_text(text)

    with pytest.raises(ConfigError, match=r"monitoring\.config"):
        checked(settings(str(file)))
