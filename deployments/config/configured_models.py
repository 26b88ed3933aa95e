"""Reads the files that list the models: TensorFlow Serving's models.config, our YAML, or one model from flags."""

from __future__ import annotations

from core.config import joined_models, yaml_settings
from core.config.model_config import BatchingParameters, ModelConfig
from core.config.models_text import model_configs, single_model
from core.config.parameter_files import BATCHING_WITHOUT_FILE, batching_parameters
from core.config.server_settings import ServerSettings
from core.config.session_options import session_config, session_config_warnings
from deployments.config.files import read_text


class ConfiguredModels:
    """The configured models; every call reads the files again."""

    def __init__(self, settings: ServerSettings) -> None:
        self._settings = settings
        self._source = settings.source

    def models(self) -> tuple[ModelConfig, ...]:
        """Read the configuration; raises ConfigError with all mistakes of all files."""
        return self.joined(self._listed())

    def _listed(self) -> tuple[ModelConfig, ...]:
        root = self._source.relative_path_root
        if self._source.model_config_file:
            file = self._source.model_config_file
            return model_configs(read_text(file), file, relative_path_root=root)
        if self._source.model_base_path:
            return (single_model(self._source.model_name, self._source.model_base_path, relative_path_root=root),)
        return ()

    def joined(self, listed: tuple[ModelConfig, ...]) -> tuple[ModelConfig, ...]:
        """Join models with the YAML file; raises ConfigError."""
        own = self._own_settings()
        return (
            listed
            if own is None
            else joined_models.joined(listed, own, relative_path_root=self._source.relative_path_root)
        )

    def placed(self, listed: tuple[ModelConfig, ...]) -> tuple[ModelConfig, ...]:
        """Return models as listed, with the settings that only the YAML file can express; raises ConfigError."""
        own = self._own_settings()
        return listed if own is None else joined_models.placed(listed, own)

    def _own_settings(self) -> yaml_settings.YamlSettings | None:
        file = self._source.model_settings_file
        return yaml_settings.read_yaml_settings(read_text(file), file) if file else None

    def batching(self) -> BatchingParameters | None:
        """Read the parameters for all models; None without batching.

        With parameters beside each version, only the threads of these are used.
        """
        batching = self._settings.batching
        if not batching.enabled:
            return None
        if not batching.parameters_file:
            return BATCHING_WITHOUT_FILE
        return batching_parameters(read_text(batching.parameters_file), batching.parameters_file)

    def session_config(self) -> bytes:
        """Return the serialized session options of every model server."""
        file = self._settings.session.session_config_file
        return session_config(self._settings.session, read_text(file) if file else "", file)

    def check(self) -> None:
        """Read all files once; raises ConfigError."""
        self.models()
        self.batching()
        self.session_config()

    def warnings(self) -> tuple[str, ...]:
        """Return warnings about settings without effect."""
        session = self._settings.session.session_config_file
        found = session_config_warnings(read_text(session), session) if session else ()
        own = self._own_settings()
        unused = joined_models.unused_models(self._listed(), own) if own is not None else ()
        return tuple(str(problem) for problem in (*unused, *found))
