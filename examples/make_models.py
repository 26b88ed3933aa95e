"""Makes the SavedModels in `examples` with Python TensorFlow, which the server itself never imports.

    python examples/make_models.py [OUT_DIR [OUT_DIR_WITH_HOOKS]]

Made again, they have the same weights and give the same answers.
"""

from __future__ import annotations

import itertools
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

LAYERS = (32, 256, 256, 2)
COLOURS = {
    "red": (1, 0, 0),
    "green": (0, 1, 0),
    "blue": (0, 0, 1),
    "yellow": (1, 1, 0),
    "cyan": (0, 1, 1),
    "magenta": (1, 0, 1),
    "black": (0, 0, 0),
    "white": (1, 1, 1),
}
PICTURE = (32, 32, 3)


def half_plus(addend: float) -> tuple[tf.Module, Any]:
    """y = 0.5 x + addend, for x of any shape."""
    module = tf.Module()
    module.slope, module.addend = tf.Variable(0.5), tf.Variable(addend)

    @tf.function(input_signature=[tf.TensorSpec(None, tf.float32, name="x")])
    def predict(x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"y": module.slope * x + module.addend}

    return module, predict


def mlp() -> tuple[tf.Module, Any]:
    """A small dense network: 32 features, two scores."""
    random = np.random.default_rng(0)
    shapes = list(itertools.pairwise(LAYERS))
    module = tf.Module()
    module.weights = [tf.Variable(random.normal(0, width**-0.5, (width, to)).astype("f4")) for width, to in shapes]

    @tf.function(input_signature=[tf.TensorSpec([None, LAYERS[0]], tf.float32, name="features")])
    def predict(features: tf.Tensor) -> dict[str, tf.Tensor]:
        for weights in module.weights[:-1]:
            features = tf.nn.relu(features @ weights)
        return {"scores": tf.nn.softmax(features @ module.weights[-1])}

    return module, predict


def text_upper() -> tuple[tf.Module, Any]:
    """Upper-case texts."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="text")])
    def predict(text: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"upper": tf.strings.upper(text, encoding="utf-8")}

    return tf.Module(), predict


def colours(labels: Path) -> tuple[tf.Module, Any]:
    """Pictures of 32 x 32 pixels, 0 to 1, to a score for each colour; the file of their names goes into the assets."""
    labels.write_text("".join(f"{name}\n" for name in COLOURS), encoding="utf-8")
    module = tf.Module()
    module.labels = tf.saved_model.Asset(str(labels))
    known = np.array(list(COLOURS.values()), "f4")

    @tf.function(input_signature=[tf.TensorSpec([None, *PICTURE], tf.float32, name="images")])
    def predict(images: tf.Tensor) -> dict[str, tf.Tensor]:
        mean = tf.reduce_mean(images, axis=[1, 2])
        distance = tf.reduce_sum((mean[:, tf.newaxis, :] - known) ** 2, axis=2)
        return {"scores": tf.nn.softmax(-4 * distance)}

    return module, predict


def save(folder: Path, module: tf.Module, predict: Any) -> None:
    """Write one version, replacing an older make of it, but not what was put beside it."""
    for made in ("assets", "variables"):
        shutil.rmtree(folder / made, ignore_errors=True)
    options = tf.saved_model.SaveOptions(save_debug_info=False)
    tf.saved_model.save(module, str(folder), signatures=predict.get_concrete_function(), options=options)
    # It holds a random number, and nothing reads it.
    (folder / "fingerprint.pb").unlink(missing_ok=True)


def main() -> None:
    """Make all models, as version 1 each."""
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().with_name("models")
    models = {
        "half_plus_two": lambda: half_plus(2.0),
        "half_plus_three": lambda: half_plus(3.0),
        "mlp": mlp,
        "text_upper": text_upper,
    }
    for name, build in models.items():
        save(out / name / "1", *build())
    hooked = Path(sys.argv[2]) if len(sys.argv) > 2 else Path(__file__).resolve().with_name("hooks")
    with tempfile.TemporaryDirectory() as folder:
        save(hooked / "colours" / "1", *colours(Path(folder) / "labels.txt"))


if __name__ == "__main__":
    main()
