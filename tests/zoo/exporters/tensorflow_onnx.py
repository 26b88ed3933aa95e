"""TensorFlow through tf2onnx: a small network with two inputs and two outputs."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnxruntime
import tensorflow as tf
import tf2onnx
from recording import Recorder, normal

VERSIONS = {one.__name__: one.__version__ for one in (tf2onnx, tf, onnxruntime)}
zoo = Recorder(sys.argv[1], __file__, VERSIONS)
HIDDEN, OUT = normal(3, 8), normal(8, 2)


@tf.function(
    input_signature=[tf.TensorSpec([None, 3], tf.float32, "x"), tf.TensorSpec([None, 1], tf.int32, "add")],
)
def network(x, add):
    """Return scores, and the place of the largest one."""
    scores = tf.nn.softmax(tf.nn.relu(x @ HIDDEN) @ OUT + tf.cast(add, tf.float32))
    return {"scores": scores, "best": tf.argmax(scores, axis=1)}


def main() -> None:
    """Write the network, with onnxruntime's answers, which are TensorFlow's."""
    folder = Path(zoo.model("tf2onnx_network", "tf2onnx"))
    folder.mkdir()
    model, _ = tf2onnx.convert.from_function(network, input_signature=network.input_signature, opset=18)
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    sent = {"x": normal(5, 3), "add": np.arange(5, dtype=np.int32).reshape(-1, 1)}
    names = [one.name for one in session.get_outputs()]
    answers = dict(zip(names, session.run(names, sent), strict=True))
    for value, expected in zip(answers.values(), tf.nest.flatten(network(**sent)), strict=True):
        np.testing.assert_allclose(value, expected, rtol=1e-4)
    zoo.call("tf2onnx_network", sent, answers)
    zoo.write()


if __name__ == "__main__":
    main()
