"""Makes the TensorFlow Lite model of `benchmarks.tflite`: `python -m benchmarks.make_lite_model OUT_FILE`.

Runs in a process of its own, because it imports TensorFlow.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tensorflow as tf

SIDE = 64
BLOCKS = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), (512, 1))


def network() -> tf.keras.Model:
    """Return depthwise separable convolutions with random weights, as small cameras use them."""
    tf.keras.utils.set_random_seed(7)
    layers = tf.keras.layers
    image = tf.keras.Input((SIDE, SIDE, 3), name="image")
    flow = layers.Conv2D(32, 3, 1, "same", activation="relu")(image)
    for channels, stride in BLOCKS:
        flow = layers.DepthwiseConv2D(3, stride, "same", activation="relu")(flow)
        flow = layers.Conv2D(channels, 1, activation="relu")(flow)
    flow = layers.GlobalAveragePooling2D()(flow)
    return tf.keras.Model(image, layers.Dense(100, activation="softmax")(flow))


def samples() -> Iterator[list[np.ndarray]]:
    rng = np.random.default_rng(7)
    for _ in range(20):
        yield [rng.random((1, SIDE, SIDE, 3), dtype=np.float32)]


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        network().export(folder, verbose=False)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = samples
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.uint8
        content = converter.convert()
    file = Path(sys.argv[1])
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)


if __name__ == "__main__":
    main()
