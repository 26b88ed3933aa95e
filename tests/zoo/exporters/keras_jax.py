"""Keras 3 with the JAX backend; its `model.export` goes through jax2tf."""

from __future__ import annotations

import os
import sys

os.environ["KERAS_BACKEND"] = "jax"

import jax
import keras
import tensorflow as tf
from recording import SEED, Recorder, normal

zoo = Recorder(
    sys.argv[1], __file__, {"keras": keras.__version__, "jax": jax.__version__, "tensorflow": tf.__version__}
)


def main() -> None:
    """Write one model with a fixed batch and one with a free batch."""
    for name, row, rows in (("keras_jax_fixed_batch", "jax-fixed", 4), ("keras_jax_free_batch", "jax-free-new", None)):
        keras.utils.set_random_seed(SEED)
        x = keras.Input((3,), name="features")
        model = keras.Model(x, keras.layers.Dense(2, activation="tanh")(x))
        spec = [keras.InputSpec(shape=(rows, 3), dtype="float32", name="features")]
        model.export(zoo.model(name, row), verbose=False, input_signature=spec)
        more = {} if rows else {"error": "vhlo.custom_call_v2"}
        zoo.call(name, {"features": normal(4, 3)}, {"output_0": model(normal(4, 3))}, fixed=rows is not None, **more)
    zoo.write()


if __name__ == "__main__":
    main()
