"""JAX through jax2tf: the dimension of the batch fixed or free, for one platform or several.

Runs twice: JAX 0.10 and older write a free dimension so that TensorFlow 2.21 runs it, newer ones do not.
"""

from __future__ import annotations

import sys

import jax
import jax.numpy as jnp
import tensorflow as tf
from jax.experimental import jax2tf
from recording import Recorder, normal

jax.config.update("jax_include_full_tracebacks_in_locations", False)  # noqa: FBT003 - its only form
RUNS_FREE = tuple(map(int, jax.__version__.split(".")[:2])) < (0, 11)
AGE = "old" if RUNS_FREE else "new"
zoo = Recorder(sys.argv[1], f"{__file__}@{AGE}", {"jax": jax.__version__, "tensorflow": tf.__version__})
WEIGHTS = normal(3, 2)


def score(x: jax.Array) -> jax.Array:
    """Compute a layer with an activation."""
    return jnp.tanh(x @ WEIGHTS)


def exported(name: str, row: str, rows: int | None, **more: object) -> None:
    """Write the function for `rows` rows, None for any number."""
    polymorphic = None if rows else ["(rows, 3)"]
    platforms = more.pop("platforms", None)
    converted = jax2tf.convert(score, polymorphic_shapes=polymorphic, native_serialization_platforms=platforms)
    module = tf.Module()
    module.call = tf.function(
        lambda x: {"y": converted(x)},
        autograph=False,
        input_signature=[tf.TensorSpec([rows, 3], tf.float32, name="x")],
    )
    tf.saved_model.save(module, zoo.model(name, row), signatures=module.call)
    zoo.call(name, {"x": normal(4, 3)}, {"y": score(normal(4, 3))}, fixed=rows is not None, **more)


def main() -> None:
    """Write what this version of JAX is for."""
    if RUNS_FREE:
        exported("jax_old_free_batch", "jax-free-old", None)
    else:
        exported("jax_fixed_batch", "jax-fixed", 4)
        exported("jax_platforms", "jax-platforms", 4, platforms=("cpu", "cuda"))
        exported("jax_free_batch", "jax-free-new", None, error="vhlo.custom_call_v2")
        exported(
            "jax_cuda_only", "jax-cuda", 4, platforms=("cuda",), error="not among the platforms required by the module"
        )
    zoo.write()


if __name__ == "__main__":
    main()
