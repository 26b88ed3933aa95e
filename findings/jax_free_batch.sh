#!/usr/bin/env bash
# Versions: jax 0.12.0.1 with tensorflow-cpu 2.21.0, on Python 3.12 or newer; with jax 0.10.2 it is not so.
# Behaviour: a function that jax2tf converts with a free (polymorphic) dimension is saved and loaded, and then every call
#   fails in TensorFlow: the checks of shapes that JAX writes into the module are an operation that TensorFlow's own
#   StableHLO does not know. With a fixed dimension the same function runs.
# Output seen:
#   fixed: runs
#   free: InvalidArgumentError: ... Cannot deserialize computation: ... unregistered operation 'vhlo.custom_call_v2' ...
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet jax==0.12.0.1 jaxlib==0.12.0.1 tensorflow-cpu==2.21.0
cd "$folder"
TF_CPP_MIN_LOG_LEVEL=3 JAX_PLATFORMS=cpu venv/bin/python - <<'PROGRAM'
import jax.numpy as jnp
import tensorflow as tf
from jax.experimental import jax2tf


def outcome(name, rows, polymorphic):
    """Return how a saved and loaded function answers two rows."""
    converted = jax2tf.convert(jnp.tanh, polymorphic_shapes=polymorphic)
    module = tf.Module()
    module.call = tf.function(converted, autograph=False, input_signature=[tf.TensorSpec([rows, 3], tf.float32)])
    tf.saved_model.save(module, name)
    try:
        tf.saved_model.load(name).call(tf.zeros([2, 3]))
    except tf.errors.InvalidArgumentError as error:
        return f"{type(error).__name__}: {error.message}"
    return "runs"


fixed, free = outcome("fixed", 2, None), outcome("free", None, ["(rows, 3)"])
print(f"fixed: {fixed}\nfree: {free}")
assert fixed == "runs", "a fixed dimension does not run any more"
assert "unregistered operation 'vhlo.custom_call_v2'" in free, "a free dimension fails no more, or otherwise"
PROGRAM
