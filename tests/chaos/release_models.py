"""Makes the versions that releases are tried with: one model of TensorFlow, and what may be wrong with its successor.

`python -m tests.chaos.release_models OUT_DIR`; a process of its own, because no other one may load TensorFlow.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tests.support.project import ROOT
from tests.support.python_models import ECHO, with_predict, write_model

FEATURES, CLASSES, WIDTH = 8, 3, 64
SLOW_ROUNDS = 3000
"""Some ten milliseconds of one core."""

ONE_IN_FIVE = (
    "import random",
    "if random.random() < 0.2: raise RuntimeError('not today')",
    'return {"y": inputs["x"]}',
)


def made_release_models(out: Path) -> Path:
    """Make all versions in a folder, each by its name, with TensorFlow in another process."""
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "2", "CUDA_VISIBLE_DEVICES": "-1"}
    command = [sys.executable, "-m", "tests.chaos.release_models", str(out)]
    subprocess.run(command, env=environment, cwd=ROOT, check=True, capture_output=True)
    write_model(out / "echo", ECHO)
    write_model(out / "raising", with_predict(*ONE_IN_FIVE))
    return out


def _save_all(out: Path) -> None:
    import tensorflow as tf  # noqa: PLC0415 - see above

    def scores(seed: int) -> Callable[[Any], Any]:
        random = np.random.default_rng(seed)
        first = random.normal(size=(FEATURES, WIDTH)).astype(np.float32)
        second = random.normal(size=(WIDTH, CLASSES)).astype(np.float32)
        return lambda x: tf.nn.softmax(0.2 * tf.nn.relu(x @ first) @ second)

    def failing(x: Any) -> Any:
        is_good = tf.debugging.assert_less(tf.random.uniform([]), 0.8, "not today")
        with tf.control_dependencies([is_good]):
            return good(x)

    def late(x: Any) -> Any:
        start = (tf.constant(0), tf.fill([1000], 1.0))
        loop = tf.while_loop(lambda at, _: at < SLOW_ROUNDS, lambda at, one: (at + 1, tf.sin(one) + 1.0), start)
        return good(x) + 0.0 * tf.reduce_mean(loop[1])

    def save(name: str, body: Callable[[Any], Any], given: str = "x", answered: str = "scores") -> None:
        spec = tf.TensorSpec([None, FEATURES], tf.float32, name=given)

        def traced(one: Any) -> Mapping[str, Any]:
            return {answered: body(one)}

        function = tf.function(traced, input_signature=[spec]).get_concrete_function()
        tf.saved_model.save(tf.Module(), str(out / name), signatures={"serving_default": function})

    good = scores(1)
    save("good", good)
    save("garbage", scores(2))
    save("failing", failing)
    save("slow", late)
    save("other_output", good, answered="probabilities")
    save("other_input", good, given="features")


if __name__ == "__main__":
    _save_all(Path(sys.argv[1]))
