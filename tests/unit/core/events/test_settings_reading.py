"""The section `events` of a request log in our YAML file."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from core.config.joined_models import joined, placed
from core.config.model_config import LoggingConfig, ModelConfig
from core.config.models_text import model_configs
from core.config.yaml_settings import read_yaml_settings
from core.errors import ConfigError
from core.events.settings import EventMode, EventSettings, LoggedParts

URL = "https://sink.example/events"


def read(logging: str) -> LoggingConfig:
    [one] = read_yaml_settings(f"models: {{m: {{base_path: /m, logging: {logging}}}}}").models["m"].logging or ()
    return one


def test_every_setting_is_read() -> None:
    """With its own value."""
    given = (
        "{mode: binary, log: response, batch_size: 7, batch_interval_s: 0.5, timeout_s: 2, max_attempts: 3, "
        "max_waiting_bytes: 1000, ca_file: /ca.pem, authorization_file: /token, inference_service: i, namespace: n, "
        "component: c, endpoint: e}"
    )
    config = read(f"{{collector: cloudevents, filename_prefix: '{URL}', sampling_rate: 1, events: {given}}}")

    assert config == LoggingConfig(
        "cloudevents", URL, 1.0,
        events=EventSettings(EventMode.BINARY, LoggedParts.RESPONSE, 7, 0.5, 2.0, 3, 1000, "/ca.pem", "", "/token", "i", "n", "c", "e"),
    )  # fmt: skip


@pytest.mark.parametrize(("events", "field"), [
    ("{mode: xml}", "mode"), ("{log: none}", "log"), ("{batch_size: 0}", "batch_size"), ("{batch_size: 1.5}", "batch_size"),
    ("{batch_interval_s: -1}", "batch_interval_s"), ("{timeout_s: 0}", "timeout_s"), ("{max_attempts: 0}", "max_attempts"),
    ("{ca_file: x}", "ca_file"), ("{authorization_env: A, authorization_file: /f}", "authorization_file"), ("{token: x}", "token"), ("[]", ""), ("5", ""),
])  # fmt: skip
def test_mistakes_have_their_field(events, field) -> None:
    """Each with its line."""
    with pytest.raises(ConfigError) as caught:
        read(f"{{collector: cloudevents, filename_prefix: '{URL}', sampling_rate: 1, events: {events}}}")

    [problem] = caught.value.problems
    assert problem.field == f"models.m.logging.events{'.' * bool(field)}{field}"
    assert problem.line == 1


def test_a_log_of_another_kind_has_no_events() -> None:
    """A setting without an effect is a mistake."""
    with pytest.raises(ConfigError, match="has an effect with the collector cloudevents only"):
        read("{collector: json_lines, filename_prefix: /x, sampling_rate: 1, events: {mode: binary}}")


@pytest.mark.parametrize("url", ["/logs/m", "http://user:word@sink/", "s3://bucket/x"])
def test_the_prefix_must_be_the_url_of_a_sink(url) -> None:
    """In both files; a log that samples nothing needs none."""
    with pytest.raises(ConfigError, match="filename_prefix"):
        read(f"{{collector: cloudevents, filename_prefix: '{url}', sampling_rate: 1}}")
    with pytest.raises(ConfigError, match="filename_prefix"):
        listed(url)
    assert read("{collector: cloudevents}").collector == "cloudevents"


def listed(url: str) -> tuple[ModelConfig, ...]:
    return tuple(model_configs(
        'model_config_list { config { name: "m" base_path: "/m" model_platform: "tensorflow" logging_config {'
        f'log_collector_config {{ type: "cloudevents" filename_prefix: "{url}" }} sampling_config {{ sampling_rate: 0.25 }}'
        "} } }"
    ))  # fmt: skip


def test_a_log_of_models_config_sends_as_the_settings_file_says() -> None:
    """Its own syntax cannot; also after a request has put a list in force, which comes in that syntax."""
    assert listed(URL)[0].logging == (LoggingConfig("cloudevents", URL, 0.25),)
    file = f"models: {{m: {{logging: {{collector: cloudevents, filename_prefix: '{URL}', sampling_rate: 0.25, events: {{mode: binary}}}}}}}}"
    ours = read_yaml_settings(file)
    wanted = (LoggingConfig("cloudevents", URL, 0.25, events=EventSettings(EventMode.BINARY)),)

    assert joined(listed(URL), ours)[0].logging == wanted
    assert placed(listed(URL), ours)[0].logging == wanted
    other: Mapping[str, object] = {one.name: one.logging for one in placed(listed(URL + "2"), ours)}
    assert other == {"m": (LoggingConfig("cloudevents", URL + "2", 0.25),)}
