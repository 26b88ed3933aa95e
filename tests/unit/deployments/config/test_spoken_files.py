"""Files that become blank: what they said before is not dropped without a word."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from core.config.model_config import ModelConfig
from core.config.models_text import CUSTOM_CONFIG, ONLY_LISTS, to_message
from core.config.server_settings import (
    BatchingSettings,
    ModelSourceSettings,
    MonitoringSettings,
    ServerSettings,
    SessionSettings,
)
from core.errors import Code, ConfigError, TransitionRefused
from core.routing.table import RoutingTable
from deployments.config.configured_models import ConfiguredModels
from deployments.config.files import read_text
from deployments.config.models_in_force import Configuration
from deployments.config.spoken_files import SpokenFiles
from deployments.config.startup_settings import checked, monitoring

LIST = 'model_config_list { config { name: "m" base_path: "/m" model_platform: "tensorflow" } }'
EMPTY_LIST = "model_config_list {}"
CUSTOM = 'custom_model_config { type_url: "x/google.protobuf.Any" }'
BLANKS = ["\n", "  \t\n\n", "# only a comment", "# model_config_list {}\n\n  # more\n"]
EMPTY = RoutingTable(0)


class Files:
    """A folder with the files of a server, and what is in force of them."""

    def __init__(self, folder: Path, *, with_settings: bool = False) -> None:
        self.models = folder / "models.config"
        self.settings = folder / "settings.yaml"
        source = ModelSourceSettings(
            str(self.models),
            model_config_file_poll_wait_s=1,
            model_settings_file=str(self.settings) if with_settings else "",
        )
        self.server = ServerSettings(source=source)
        self.now_s = 0.0
        self.start()

    def start(self) -> None:
        """Begin a watcher that knows nothing of earlier ones."""
        self.configuration = Configuration(self.server.source, ConfiguredModels(self.server))

    def replace_watcher(self) -> None:
        """Let another watcher go on from what the present one published."""
        published = self.configuration.published(self.configuration.in_force())
        self.start()
        self.configuration.adopt(published)

    def poll(self, text: str | None = None) -> set[str]:
        """Read the files once more; returns the names of the models in force."""
        if text is not None:
            self.models.write_text(text)
        self.now_s += 1.0
        self.configuration.poll(self.now_s, EMPTY)
        in_force = self.configuration.in_force()
        return {one.name for one in in_force.models} if in_force is not None else set()

    @property
    def refusals(self) -> list[str]:
        """The texts of what is refused at present."""
        return [one.message for one in self.configuration.problems]


@pytest.mark.parametrize("blank", BLANKS)
@pytest.mark.parametrize("is_new_watcher", [False, True])
def test_a_list_that_becomes_blank_stays_in_force_and_the_refusal_is_shown(tmp_path, blank, is_new_watcher) -> None:
    """TensorFlow Serving refuses it with the same text, and goes on serving."""
    files = Files(tmp_path)
    assert files.poll(LIST) == {"m"}
    if is_new_watcher:
        files.replace_watcher()

    assert files.poll(blank) == {"m"}
    assert files.refusals == [ONLY_LISTS]
    assert files.configuration.problems[0].file == str(files.models)

    assert files.poll(LIST) == {"m"}
    assert files.refusals == []


@pytest.mark.parametrize("blank", BLANKS)
def test_a_first_file_may_be_blank_and_a_list_may_follow(tmp_path: Path, blank: str, caplog) -> None:
    """No action is taken for it; from the list on, no blank one follows."""
    caplog.set_level("INFO")
    files = Files(tmp_path)

    assert files.poll(blank) == set()
    assert (files.refusals, files.configuration.in_force().models) == ([], ())
    assert "Taking no action for empty config" in caplog.text
    assert files.poll(BLANKS[0]) == set()
    assert files.refusals == []
    assert files.poll(LIST) == {"m"}
    assert files.poll(blank) == {"m"}
    assert files.refusals == [ONLY_LISTS]


@pytest.mark.parametrize("is_new_watcher", [False, True])
def test_an_explicit_empty_list_removes_every_model(tmp_path: Path, is_new_watcher) -> None:
    """And is a list, which a blank file must not follow either."""
    files = Files(tmp_path)
    files.poll(LIST)

    assert files.poll(EMPTY_LIST) == set()
    assert files.refusals == []
    if is_new_watcher:
        files.replace_watcher()
    files.poll("\n")
    assert files.refusals == [ONLY_LISTS]


def test_a_custom_config_cannot_follow_a_list(tmp_path: Path) -> None:
    """At the start it is refused as such."""
    files = Files(tmp_path)
    files.poll(CUSTOM)
    assert files.refusals == [CUSTOM_CONFIG]
    files.poll(LIST)

    assert files.poll(CUSTOM) == {"m"}
    assert files.refusals == [ONLY_LISTS]


def test_the_refusal_is_a_failed_precondition(tmp_path: Path) -> None:
    """As TensorFlow Serving's."""
    files = Files(tmp_path)
    models = ConfiguredModels(files.server)
    files.models.write_text(LIST)
    models.models()
    files.models.write_text("# nothing")

    with pytest.raises(TransitionRefused) as caught:
        models.models()

    assert caught.value.code is Code.FAILED_PRECONDITION


def test_a_list_of_a_request_outlives_a_file_that_was_always_blank(tmp_path: Path) -> None:
    """The file's content did not change, so there is nothing to refuse."""
    files = Files(tmp_path)
    files.poll("\n")
    files.configuration.reload(to_message([ModelConfig("n", "/n")]), EMPTY)

    assert files.poll() == {"n"}
    assert files.refusals == []


@pytest.mark.parametrize("blank", [*BLANKS, "---\n", "---\n# nothing\n...\n"])
@pytest.mark.parametrize("is_new_watcher", [False, True])
def test_settings_that_become_blank_stay_in_force(tmp_path: Path, blank: str, is_new_watcher) -> None:
    """The models that only this file lists would be unloaded, and the others lose their placement."""
    files = Files(tmp_path, with_settings=True)
    files.settings.write_text("models: {n: {base_path: /n}}")
    assert files.poll(LIST) == {"m", "n"}
    if is_new_watcher:
        files.replace_watcher()

    files.settings.write_text(blank)
    assert files.poll() == (set() if is_new_watcher else {"m", "n"})  # without a list, a new watcher changes nothing
    assert "write `models: {}` if its settings are to go" in files.refusals[0]

    files.settings.write_text("models: {}")
    assert files.poll() == {"m"}
    assert files.refusals == []


def test_models_of_the_settings_stay_beside_a_models_config_that_was_always_blank(tmp_path: Path) -> None:
    """The blank file lists nothing, and never did."""
    files = Files(tmp_path, with_settings=True)
    files.settings.write_text("models: {n: {base_path: /n}}")
    assert files.poll("# later\n") == {"n"}

    assert files.poll() == {"n"}
    assert files.refusals == []


def parameters(tmp_path: Path, text: str) -> ConfiguredModels:
    """Return a configuration whose batching and session files have this text."""
    for name in ("batching", "session"):
        (tmp_path / name).write_text(text)
    return ConfiguredModels(
        ServerSettings(
            batching=BatchingSettings(enabled=True, parameters_file=str(tmp_path / "batching")),
            session=SessionSettings(session_config_file=str(tmp_path / "session")),
        )
    )


@pytest.mark.parametrize("is_new_watcher", [False, True])
def test_parameter_files_that_become_blank_refuse_the_next_load(tmp_path: Path, is_new_watcher) -> None:
    """The next version would otherwise run with other parameters than the ones beside it."""
    models = parameters(tmp_path, "# only blanks")
    models.models()
    assert (models.batching().max_batch_size, models.session_config()) != (0, None)
    (tmp_path / "batching").write_text("max_batch_size { value: 3 }")
    (tmp_path / "session").write_text("allow_soft_placement: true")
    assert models.batching().max_batch_size == 3
    models.session_config()
    spoken = models.spoken
    models = parameters(tmp_path, "\n") if is_new_watcher else models
    models.recall(spoken)
    for name in ("batching", "session"):
        (tmp_path / name).write_text("\n")

    for read in (models.batching, models.session_config):
        with pytest.raises(ConfigError, match="holds only blanks and comments"):
            read()


def test_parameter_files_are_looked_at_before_the_first_load(tmp_path: Path) -> None:
    """The launcher submits the first versions: the watcher may first read the files when they are blank already."""
    models = parameters(tmp_path, "num_batch_threads { value: 2 }")

    models.models()

    assert models.spoken == {str(tmp_path / "batching"), str(tmp_path / "session")}


def test_a_file_that_cannot_be_read_is_left_for_its_first_use(tmp_path: Path) -> None:
    """Looking ahead reports nothing."""
    spoken = SpokenFiles(read_text)

    spoken.look(str(tmp_path / "missing"), "")

    assert spoken.names == frozenset()


def test_the_monitoring_file_counts_as_it_was_at_the_start(tmp_path: Path) -> None:
    """A router that starts later must not lose the page because the file became blank."""
    (tmp_path / "models.config").write_text(LIST)
    (tmp_path / "monitoring").write_text('prometheus_config { enable: true path: "/metrics" }')
    files = Files(tmp_path)
    settings, _ = checked(replace(files.server, monitoring=MonitoringSettings(str(tmp_path / "monitoring"))))

    (tmp_path / "monitoring").write_text("\n")

    assert monitoring(settings).prometheus_path == "/metrics"
    assert monitoring(settings).prometheus_enabled


def test_a_blank_list_is_warned_about_at_the_start(tmp_path: Path) -> None:
    """A server that serves nothing should say why."""
    files = Files(tmp_path)
    files.models.write_text("# nothing\n")

    _, warnings = checked(files.server)

    assert [one for one in warnings if "model_config_list is missing" in one and str(files.models) in one]
