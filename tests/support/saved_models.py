"""The test models: made once by TensorFlow in another process, then kept in a cache that all test runs share.

`python tests/support/saved_models.py OUT_DIR` makes them; `ensure_models` does that when the cache has none of this
version of the two scripts.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import pickle
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

SCRIPTS = (Path(__file__).resolve(), Path(__file__).resolve().with_name("saved_model_builders.py"))
FINISHED = "finished"


@dataclass(frozen=True, slots=True)
class ExpectedCall:
    """One call of a test model and TensorFlow's own answer to it."""

    model: str
    version: int
    signature: str
    inputs: dict[str, np.ndarray]
    outputs: dict[str, np.ndarray]


def expected_calls(models: Path) -> list[ExpectedCall]:
    """Read the calls that were recorded beside the models."""
    return [ExpectedCall(*fields) for fields in pickle.loads((models / "expected.pickle").read_bytes())]


def ensure_models(cache_dir: Path) -> Path:
    """Answer with the folder of all test models, made now if this version of them is not in the cache.

    A second run waits for the first one; a run that dies leaves nothing that looks finished.
    """
    key = hashlib.sha256(b"".join(script.read_bytes() for script in SCRIPTS)).hexdigest()[:16]
    models = cache_dir / key
    cache_dir.mkdir(parents=True, exist_ok=True)
    with (cache_dir / f"{key}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (models / FINISHED).exists():
            make_in_process(models)
    return models


def make_in_process(models: Path) -> None:
    """Start the process that has TensorFlow, and move its output into place when it is whole."""
    unfinished = models.with_name(f"{models.name}.unfinished")
    for leftover in (models, unfinished):
        shutil.rmtree(leftover, ignore_errors=True)
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "2", "CUDA_VISIBLE_DEVICES": "-1"}
    command = [sys.executable, str(SCRIPTS[0]), str(unfinished)]
    made = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if made.returncode:
        raise RuntimeError(f"the test models could not be made:\n{made.stderr[-4000:]}")
    (unfinished / FINISHED).touch()
    unfinished.rename(models)


def main() -> None:
    """Make the models in the folder named on the command line."""
    out = Path(sys.argv[1])
    out.mkdir(parents=True)
    import saved_model_builders  # noqa: PLC0415 - this import brings TensorFlow, which no other caller may load

    saved_model_builders.build(out)


if __name__ == "__main__":
    main()
