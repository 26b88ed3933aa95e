"""The Protocol of a platform: it turns the folder of a version into a servable that can be called.

Policies, rollouts, batching, warm-up, logs, metrics and the protocols of clients know a servable as `Loaded` and not
which platform it came from. `deployments.platforms` holds the built-in ones; packages register others by the entry
point `ray_model_server.platforms`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from core.config.extensions import PlatformKind
from core.errors import Unavailable
from core.inference.signature import ServedModel
from core.versions.servable import ServableId
from core.versions.servable_spec import ServableSpec


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a version is expected to take, judged by its files alone.

    `resident_bytes` is the memory of one replica, beside that of the process; `is_light` says that a run is too short
    to gain from more than one thread.
    """

    resident_bytes: int
    is_light: bool = False


class Loaded(Protocol):
    """A loaded version: its signatures, and how it is run; may be called from several threads at once."""

    served: ServedModel

    def run(
        self,
        feeds: Mapping[str, np.ndarray],
        fetches: Sequence[str],
        *,
        timeout_ms: int | None = None,
        in_caller_thread: bool = False,
    ) -> list[np.ndarray]:
        """Run once: arrays by the names of tensors in, arrays in the order of `fetches` out; raises ServingError.

        The names are those of `TensorSpec.tensor`. `timeout_ms` is what is left of the caller's time, as far as the
        platform can keep to it; `in_caller_thread` asks for a run that starts no thread.
        """

    def close(self) -> None:
        """Refuse further calls; the memory is freed when the calls that still run have ended."""


class Platform(Protocol):
    """Loads versions of one kind."""

    kind: PlatformKind

    def estimate(self, path: str) -> Estimate:
        """Judge a version by the files of its folder; raises nothing: what cannot be read counts as nothing."""

    def load(self, spec: ServableSpec) -> Loaded:
        """Load the version in the local folder `spec.path`; raises ServingError with the text for the operator."""


def unloaded_error(servable: ServableId) -> Unavailable:
    """Return the error of a run after `close`."""
    return Unavailable(f"Servable {servable} is unloaded")
