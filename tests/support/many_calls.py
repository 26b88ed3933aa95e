"""Calls models a hundred thousand times and prints by how many megabytes this process grew."""

from __future__ import annotations

import contextlib
import gc
import sys
from pathlib import Path

import numpy as np
import psutil

from core.errors import RuntimeFailure
from tests.support.loaded_models import call, loaded


def resident_megabytes() -> float:
    """Measure this process."""
    gc.collect()
    return psutil.Process().memory_info().rss / 1e6


def growth(models: Path) -> float:
    """Make small, large, string and failing calls; the first bursts fill what is kept on purpose."""
    identity, matrix = loaded(models, "all_dtypes"), loaded(models, "matrix")
    small, large = np.ones((1, 3), np.float32), np.ones(100_000, np.float32)
    strings = np.array([b"x" * 500, b"y"], object)

    def burst(rounds: int) -> None:
        for _ in range(rounds):
            for _ in range(100):
                call(matrix, {"x": small}, in_caller_thread=True)
            call(identity, {"x": large}, "float32", in_caller_thread=True)
            call(identity, {"x": strings}, "string", in_caller_thread=True)
            with contextlib.suppress(RuntimeFailure):
                call(matrix, {"x": small[:, :2]}, in_caller_thread=True)

    burst(200)
    before = resident_megabytes()
    burst(1000)
    return resident_megabytes() - before


if __name__ == "__main__":
    print(growth(Path(sys.argv[1])))
