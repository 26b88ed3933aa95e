"""What a replica is given to become a version."""

from __future__ import annotations

import pickle

from core.config.model_config import BatchingParameters, ModelConfig
from core.config.server_settings import ServerSettings
from core.versions.servable import ServableId
from core.versions.servable_spec import ServableSpec


def test_a_spec_travels_between_processes() -> None:
    """The watcher makes it, a model server on another node reads it."""
    spec = ServableSpec(
        ServableId("m", 1), "/m/1", ServerSettings(), ModelConfig("m", "/m"), BatchingParameters(8), b"x", "f"
    )

    assert pickle.loads(pickle.dumps(spec)) == spec


def test_a_version_needs_no_more_than_its_path() -> None:
    """Without batching, session options or a fingerprint to compare with."""
    spec = ServableSpec(ServableId("m", 1), "/m/1")

    assert (spec.batching, spec.session_config, spec.fingerprint, spec.config) == (None, b"", "", None)
