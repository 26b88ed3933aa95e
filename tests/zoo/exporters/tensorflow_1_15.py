"""TensorFlow 1.15: `simple_save`, which many frozen pipelines still call."""

from __future__ import annotations

import sys

import tensorflow as tf
from recording import Recorder, normal

zoo = Recorder(sys.argv[1], __file__, {"tensorflow": tf.__version__})


def main() -> None:
    """Write a layer whose variables are of the old kind."""
    with tf.Graph().as_default(), tf.Session() as session:
        x = tf.placeholder(tf.float32, [None, 3], name="x")
        weights = tf.get_variable("weights", initializer=normal(3, 2), use_resource=False)
        y = tf.tanh(tf.matmul(x, weights), name="y")
        session.run(tf.global_variables_initializer())
        tf.saved_model.simple_save(session, zoo.model("tf1_simple_save", "tf1"), {"x": x}, {"y": y})
        zoo.call("tf1_simple_save", {"x": normal(4, 3)}, {"y": session.run(y, {x: normal(4, 3)})})
    zoo.write()


if __name__ == "__main__":
    main()
