"""Returns its input: what is measured is everything around it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np


class Model:
    inputs = {"x": ("float32", (None, 32))}
    outputs = {"y": ("float32", (None, 32))}

    def load(self, path: str) -> None:
        del path

    def predict(self, inputs: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        return {"y": inputs["x"]}
