"""A platform: a version is a file `factor.txt`, and its model multiplies by the number in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from core.config.extensions import PlatformKind
from core.errors import InvalidArgument, Unavailable
from core.inference.dtypes import DataType
from core.inference.signature import Signature, TensorSpec, served_model
from core.platforms.platform import Estimate
from core.versions.servable_spec import ServableSpec

FILE = "factor.txt"


class Multiply:
    """Loads versions; one object serves a process."""

    kind = PlatformKind("multiply", (FILE,))

    def estimate(self, path: str) -> Estimate:
        return Estimate(resident_bytes=0, is_light=True)

    def load(self, spec: ServableSpec) -> Multiplication:
        file = Path(spec.path, FILE)
        try:
            factor = float(file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise InvalidArgument(f"{file} does not hold a number: {error}") from error
        return Multiplication(spec, factor)


class Multiplication:
    """A loaded version: y = factor * x, for x of any shape."""

    def __init__(self, spec: ServableSpec, factor: float) -> None:
        signature = Signature(
            inputs={"x": TensorSpec("x", DataType.FLOAT, None)}, outputs={"y": TensorSpec("y", DataType.FLOAT, None)}
        )
        self.served = served_model(spec.servable.name, spec.servable.version, {"serving_default": signature})
        self._factor = np.float32(factor)
        self._closed = False

    def run(
        self,
        feeds: Mapping[str, np.ndarray],
        fetches: Sequence[str],
        *,
        timeout_ms: int | None = None,
        in_caller_thread: bool = False,
    ) -> list[np.ndarray]:
        if self._closed:
            raise Unavailable("The version was unloaded.")
        if feeds.keys() != {"x"} or not {"y"}.issuperset(fetches):
            raise InvalidArgument(f"The model takes x and answers y, not {[*feeds]} and {[*fetches]}")
        x = feeds["x"]
        if x.dtype != np.float32:
            raise InvalidArgument(f"x must be floats, and is {x.dtype}")
        return [x * self._factor for _ in fetches]

    def close(self) -> None:
        self._closed = True


PLATFORM = Multiply()
