"""Makes the SavedModels that only benchmarks need: `python -m benchmarks.make_models OUT_DIR NAME...`

Runs in a process of its own, because it imports TensorFlow.
"""

from __future__ import annotations

import itertools
import sys
from pathlib import Path
from typing import Any

import tensorflow as tf
from tensorflow.python.data.experimental.ops import testing

IMAGE = tf.TensorSpec([None, 224, 224, 3], tf.float32, name="image")
ROW = tf.TensorSpec([None, 64], tf.float32, name="row")
WIDTH = 2048
LAYERS = 4
WAIT_US = 10_000  # the dataset sleeps twice in a run: before its element, and before its end


def image() -> tuple[tf.Module, Any]:
    """Next to no work for the model, so that the way of the bytes is what is measured."""
    return tf.Module(), tf.function(lambda image: {"means": tf.reduce_mean(image, [1, 2])}, input_signature=[IMAGE])


def copy() -> tuple[tf.Module, Any]:
    """Gives back what it gets."""
    return tf.Module(), tf.function(lambda image: {"image": tf.identity(image)}, input_signature=[IMAGE])


def lengths() -> tuple[tf.Module, Any]:
    """Texts in and numbers out, with next to no work between."""
    count = tf.function(
        lambda text: {"lengths": tf.cast(tf.strings.length(text), tf.float32)},
        input_signature=[tf.TensorSpec([None], tf.string, name="text")],
    )
    return tf.Module(), count


def waiting() -> tuple[tf.Module, Any]:
    """Stands for a model on an accelerator of its own: each run takes its time, and no CPU."""

    def predict(row: tf.Tensor) -> dict[str, tf.Tensor]:
        delayed = tf.data.Dataset.from_tensors(row).apply(testing.sleep(WAIT_US))
        return {"scores": tf.reshape(delayed.get_single_element(), [-1, ROW.shape[1]])[:, :8]}

    return tf.Module(), tf.function(predict, input_signature=[ROW])


def resnet() -> tuple[tf.Module, Any]:
    """ResNet50 with random weights: nearly all of a request's time is the model's."""
    tf.keras.utils.set_random_seed(7)
    network = tf.keras.applications.ResNet50(weights=None)
    module = tf.Module()
    # The plain variables: tracked through the Keras model, TensorFlow's own loader does not restore all of them.
    module.weights = [weight.value for weight in network.variables]
    predict = tf.function(lambda image: {"scores": network(image, training=False)}, input_signature=[IMAGE])
    return module, predict


def wide() -> tuple[tf.Module, Any]:
    """Large weights for little input: most of a run is reading them, and a batch reads them once."""
    module = tf.Module()
    widths = [ROW.shape[1], *[WIDTH] * LAYERS, 8]
    generator = tf.random.Generator.from_seed(7)
    module.weights = [
        tf.Variable(generator.normal((rows, columns)) / rows**0.5) for rows, columns in itertools.pairwise(widths)
    ]

    def predict(row: tf.Tensor) -> dict[str, tf.Tensor]:
        for weights in module.weights:
            row = tf.tanh(row @ weights)
        return {"scores": row}

    return module, tf.function(predict, input_signature=[ROW])


def main() -> None:
    builders = {"image": image, "copy": copy, "resnet": resnet, "lengths": lengths, "wide": wide, "waiting": waiting}
    for name in sys.argv[2:]:
        module, predict = builders[name]()
        folder = Path(sys.argv[1]) / name / "1"
        tf.saved_model.save(module, str(folder), signatures=predict.get_concrete_function())


if __name__ == "__main__":
    main()
