"""SavedModels, run by TensorFlow's C API."""

from __future__ import annotations

import functools
from pathlib import Path

from core.config.extensions import TENSORFLOW
from core.config.session_options import with_threads
from core.platforms.op_libraries import named_libraries
from core.platforms.platform import Estimate
from core.versions.servable_spec import ServableSpec
from deployments.container.cpus import quota_cpus
from deployments.runtime.op_libraries import load_with_known, open_named
from deployments.runtime.saved_model import LoadedModel, load
from deployments.runtime.signature_file import is_light_version
from deployments.storage.version_files import files_bytes


class SavedModels:
    """Loads SavedModels."""

    kind = TENSORFLOW

    def estimate(self, path: str) -> Estimate:
        """Judge a SavedModel by the sizes of its files and the operations of its graph."""
        return Estimate(files_bytes(Path(path)), is_light_version(Path(path)))

    def load(self, spec: ServableSpec) -> LoadedModel:
        """Load a SavedModel, after the libraries that are named for it; raises ServingError with TensorFlow's text."""
        open_named(named_libraries(spec))
        opening = functools.partial(
            load,
            spec.path,
            tags=spec.settings.loading.saved_model_tags,
            name=spec.servable.name,
            version=spec.servable.version,
            session_config=session_options_of(spec),
        )
        return load_with_known(opening, Path(spec.path))


PLATFORM = SavedModels()


def session_options_of(spec: ServableSpec) -> bytes:
    """Return the session options of one version: with one thread for a light one, and no more than a container has."""
    light = is_light_version(Path(spec.path))
    return with_threads(spec.session_config, spec.reserved_cpus, light=light, limit=quota_cpus())
