"""How onnxruntime's session of a version is set up: its threads and its devices."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

CUDA: Final = "CUDAExecutionProvider"
CPU: Final = "CPUExecutionProvider"


def intra_op_threads(reserved_cpus: float, cpus: int, *, light: bool) -> int:
    """Return how many threads a run may use: the CPUs reserved for the replica, or one for a light model, or all."""
    if reserved_cpus > 0:
        return math.ceil(reserved_cpus)
    return 1 if light else cpus


def execution_providers(available: Sequence[str], num_gpus: float | None) -> list[str]:
    """Return the devices to use, the preferred one first: a GPU where there is CUDA and `num_gpus` is not 0."""
    return [CUDA, CPU] if CUDA in available and num_gpus != 0 else [CPU]
