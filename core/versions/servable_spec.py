"""What a replica must know to become a version; travels from the watcher to the replica."""

from __future__ import annotations

from dataclasses import dataclass, field

from core.config.model_config import BatchingParameters, ModelConfig
from core.config.server_settings import ServerSettings
from core.versions.servable import ServableId


@dataclass(frozen=True, slots=True)
class ServableSpec:
    """What a replica needs to know to become a version: its path or URL, and the state of its files when chosen."""

    servable: ServableId
    path: str
    settings: ServerSettings = field(default_factory=ServerSettings)
    config: ModelConfig | None = None
    batching: BatchingParameters | None = None
    session_config: bytes = b""
    fingerprint: str = ""
