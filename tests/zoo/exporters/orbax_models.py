"""orbax-export: a JAX module with its parameters and its serving signatures."""

from __future__ import annotations

import importlib.metadata
import sys

import jax
import jax.numpy as jnp
import tensorflow as tf
from orbax.export import ExportManager, JaxModule, ServingConfig
from recording import Recorder, normal

VERSIONS = {"orbax-export": importlib.metadata.version("orbax-export"), "jax": jax.__version__}
zoo = Recorder(sys.argv[1], __file__, {**VERSIONS, "tensorflow": tf.__version__})


def score(parameters: dict[str, jax.Array], x: jax.Array) -> jax.Array:
    """Compute a layer with an activation."""
    return jnp.tanh(x @ parameters["kernel"])


def main() -> None:
    """Write one model with a fixed batch, with a step of TensorFlow before and after JAX."""
    parameters = {"kernel": normal(3, 2)}
    module = JaxModule(parameters, score)
    config = ServingConfig(
        "serving_default",
        input_signature=[tf.TensorSpec([4, 3], tf.float32, name="x")],
        tf_preprocessor=lambda x: x / 2.0,
        tf_postprocessor=lambda y: {"y": y},
    )
    ExportManager(module, [config]).save(zoo.model("orbax_export", "orbax"))
    zoo.call("orbax_export", {"x": normal(4, 3)}, {"y": score(parameters, normal(4, 3) / 2.0)}, fixed=True)
    zoo.write()


if __name__ == "__main__":
    main()
