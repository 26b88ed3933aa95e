"""Reads the files that list the models: TensorFlow Serving's models.config, our YAML, or one model from flags."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from core.config import joined_models, yaml_settings
from core.config.model_config import BatchingParameters, ModelConfig
from core.config.models_text import NO_LIST, model_configs, single_model
from core.config.parameter_files import BATCHING_WITHOUT_FILE, batching_parameters
from core.config.server_settings import ServerSettings
from core.config.session_options import session_config, session_config_warnings
from core.errors import Problem
from core.formats.text_format import says_nothing
from core.storage.version_listing import is_remote
from deployments.config.extension_points import extensions
from deployments.config.files import read_text
from deployments.config.followed_files import FollowedFiles
from deployments.config.spoken_files import SpokenFiles

SETTINGS_REMEDY = "write `models: {}` if its settings are to go"
PARAMETERS_REMEDY = "write its fields again, or start the server anew without it"


class ConfiguredModels:
    """The configured models; every call reads the local files again, and those at URLs as they are `followed`."""

    def __init__(self, settings: ServerSettings, followed: FollowedFiles | None = None) -> None:
        self._settings = settings
        self._source = settings.source
        self._followed = followed
        self._read: Callable[[str], str] = followed.read if followed is not None else read_text
        self._spoken = SpokenFiles(self._read)
        self._has_looked = False

    @property
    def spoken(self) -> frozenset[str]:
        """The files that have said something."""
        return self._spoken.names

    def recall(self, spoken: frozenset[str]) -> None:
        """Continue with the files that a predecessor knew."""
        self._spoken.recall(spoken)

    def models(self) -> tuple[ModelConfig, ...]:
        """Read the configuration; raises ConfigError with all mistakes of all files.

        Raises TransitionRefused for a file that said something before and is blank now.
        """
        if not self._has_looked:
            self._has_looked = True
            self._spoken.look(self._batching_file, self._settings.session.session_config_file)
        return self.joined(self._listed(), self._list_source)

    @property
    def _batching_file(self) -> str:
        return self._settings.batching.parameters_file if self._settings.batching.enabled else ""

    def _listed(self) -> tuple[ModelConfig, ...]:
        root = self._source.relative_path_root
        if self._source.model_config_file:
            file = self._source.model_config_file
            text = self._read(file)
            models = model_configs(
                text, file, relative_path_root=root, follows_list=file in self.spoken, known=extensions()
            )
            self._spoken.note(file, text)
            return models
        if self._source.model_base_path:
            name, base_path = self._source.model_name, self._source.model_base_path
            return (single_model(name, base_path, relative_path_root=root, known=extensions()),)
        return ()

    def joined(
        self, listed: tuple[ModelConfig, ...], source: str = "the list of the request"
    ) -> tuple[ModelConfig, ...]:
        """Join models with the YAML file; raises ConfigError, whose texts name the list by its source."""
        own = self._own_settings() or yaml_settings.YamlSettings()
        root = self._source.relative_path_root
        return joined_models.joined(listed, own, relative_path_root=root, source=source)

    @property
    def _list_source(self) -> str:
        by_flags = self._source.model_base_path and not self._source.model_config_file
        return joined_models.ONE_MODEL_FLAGS if by_flags else joined_models.MODELS_CONFIG

    def placed(self, listed: tuple[ModelConfig, ...]) -> tuple[ModelConfig, ...]:
        """Return models as listed, with the settings that only the YAML file can express; raises ConfigError."""
        return joined_models.placed(listed, self._own_settings() or yaml_settings.YamlSettings())

    def _own_settings(self) -> yaml_settings.YamlSettings | None:
        file = self._source.model_settings_file
        if not file:
            return None
        return yaml_settings.read_yaml_settings(self._spoken.read(file, SETTINGS_REMEDY), file, extensions())

    def batching(self) -> BatchingParameters | None:
        """Read the parameters for all models; None without batching.

        With parameters beside each version, only the threads of these are used.
        """
        batching = self._settings.batching
        if not batching.enabled:
            return None
        file = batching.parameters_file
        if not file:
            return BATCHING_WITHOUT_FILE
        return batching_parameters(self._spoken.read(file, PARAMETERS_REMEDY), file)

    def session_config(self) -> bytes:
        """Return the serialized session options of every model server."""
        file = self._settings.session.session_config_file
        text = self._spoken.read(file, PARAMETERS_REMEDY) if file else ""
        return session_config(self._settings.session, text, file)

    def unread(self) -> tuple[Problem, ...]:
        """Return the problems of files at URLs whose newest content could not be read; an earlier one counts."""
        return self._followed.problems if self._followed is not None else ()

    def changes(self) -> int:
        """Return how often a file at a URL changed, or its problem."""
        return self._followed.changes if self._followed is not None else 0

    def check(self) -> None:
        """Read all files once; raises ConfigError."""
        self.models()
        self.batching()
        self.session_config()

    def warnings(self) -> tuple[str, ...]:
        """Return warnings about settings without effect."""
        session = self._settings.session.session_config_file
        found = session_config_warnings(self._read(session), session) if session else ()
        own = self._own_settings()
        unused = joined_models.unused_models(self._listed(), own, self._list_source) if own is not None else ()
        return tuple(str(problem) for problem in (*self._silent_list(), *unused, *found))

    def _silent_list(self) -> Iterator[Problem]:
        file = self._source.model_config_file
        if file and says_nothing(self._read(file)):
            yield Problem(NO_LIST, file)


def followed_files(settings: ServerSettings) -> FollowedFiles:
    """Return the files at URLs that a watcher reads, followed as often as local files or remote storage are polled."""
    source, remote_s = settings.source, settings.polling.remote_poll_wait_s
    list_s = source.model_config_file_poll_wait_s
    periods = {
        source.model_config_file: list_s,
        source.model_settings_file: list_s or remote_s,
        settings.batching.parameters_file: remote_s,
        settings.session.session_config_file: remote_s,
    }
    return FollowedFiles({file: period_s for file, period_s in periods.items() if is_remote(file)})
