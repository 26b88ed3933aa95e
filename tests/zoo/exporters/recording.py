"""What every script of the zoo uses: where models are written, and what is kept beside them.

Runs in the exporters' own environments, the oldest of which is Python 3.7, and needs only NumPy there.
"""

from __future__ import annotations

import json
import platform
from pathlib import Path
from typing import Any

import numpy as np

SEED = 20261129


def described(value: Any) -> dict[str, Any]:
    """Describe an array for JSON; strings become texts of the code points 0 to 255, one for each byte."""
    array = np.asarray(value)
    flat = array.ravel().tolist()
    if array.dtype.kind in "OSU":
        texts = [one.encode() if isinstance(one, str) else one for one in flat]
        return {"dtype": "string", "shape": list(array.shape), "values": [one.decode("latin-1") for one in texts]}
    return {"dtype": array.dtype.name, "shape": list(array.shape), "values": flat}


class Recorder:
    """Takes the models of one script, and writes what is known of them to `<script>.json` in the end."""

    def __init__(self, out: str, script: str, versions: dict[str, str]) -> None:
        self._out = Path(out)
        self._script = Path(script).name
        self._versions = {**versions, "python": platform.python_version()}
        self._models: dict[str, dict[str, Any]] = {}

    def model(self, name: str, row: str, version: int = 1, **more: Any) -> str:
        """Return where to write a version; `row` names the row of docs/exporters.md that the model stands for."""
        entry = self._models.setdefault(
            name, {"name": name, "row": row, "script": self._script, "versions": self._versions, **more, "calls": []}
        )
        assert entry["row"] == row
        folder = self._out / name / str(version)
        folder.parent.mkdir(parents=True, exist_ok=True)
        return str(folder)

    def call(
        self,
        name: str,
        inputs: dict[str, Any],
        outputs: dict[str, Any] | None = None,
        *,
        version: int = 1,
        signature: str = "serving_default",
        rows: bool = True,
        **more: Any,
    ) -> None:
        """Keep a call and the exporter's own answer; with `rows` the first dimension of every tensor is the batch."""
        self._models[name]["calls"].append(
            {
                "version": version,
                "signature": signature,
                "rows": rows,
                **more,
                "inputs": {key: described(value) for key, value in inputs.items()},
                "outputs": None if outputs is None else {key: described(value) for key, value in outputs.items()},
            }
        )

    def write(self) -> None:
        """Write what is known of all models."""
        text = json.dumps(list(self._models.values()), indent=1)
        (self._out / (self._script + ".json")).write_text(text, encoding="utf-8")


def normal(*shape: int) -> np.ndarray:
    """Return the same float32 values for the same shape, whatever was made before; few digits, to be read."""
    return np.random.RandomState(SEED).standard_normal(shape).round(2).astype(np.float32)
