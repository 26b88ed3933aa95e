"""The description of a version that the watcher sends to its replicas."""

from __future__ import annotations

from dataclasses import dataclass, field

from core.config.extensions import ANY, PlatformKind
from core.config.model_config import BatchingParameters, ModelConfig
from core.config.server_settings import ServerSettings
from core.versions.servable import ServableId


@dataclass(frozen=True, slots=True)
class ServableSpec:
    """All that a replica needs to load a version; `fingerprint` is the state of its files when it was chosen."""

    servable: ServableId
    path: str
    settings: ServerSettings = field(default_factory=ServerSettings)
    config: ModelConfig | None = None
    batching: BatchingParameters | None = None
    session_config: bytes = b""
    fingerprint: str = ""

    @property
    def platform(self) -> PlatformKind:
        """The declared platform."""
        return ANY if self.config is None else self.config.platform

    @property
    def reserved_cpus(self) -> float:
        """The CPUs that Ray reserves for a replica; 0 reserves none."""
        return 0.0 if self.config is None else self.config.resources.num_cpus

    def usable_cpus(self, on_node: int) -> int:
        """Return the number of CPUs that a replica may use: those reserved for it, else all of its node."""
        return max(1, round(self.reserved_cpus) or on_node)
