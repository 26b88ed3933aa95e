"""Keras 3 with the TensorFlow backend: `model.export`, `ExportArchive`, quantized and mixed precision."""

from __future__ import annotations

import sys

import keras
import numpy as np
import tensorflow as tf
from recording import SEED, Recorder, normal

layers = keras.layers
zoo = Recorder(sys.argv[1], __file__, {"keras": keras.__version__, "tensorflow": tf.__version__})


def exported(model: keras.Model, name: str, row: str, version: int = 1, **more: object) -> None:
    """Write a model as users do."""
    model.export(zoo.model(name, row, version), verbose=False, **more)


def sequential() -> None:
    """Write two versions of a model in one process: the name of the only input differs."""
    for version, width in ((1, 3), (2, 4)):
        model = keras.Sequential([keras.Input((3,)), layers.Dense(width, activation="relu"), layers.Dense(1)])
        exported(model, "keras_sequential", "keras-sequential", version)
        x = normal(4, 3)
        zoo.call("keras_sequential", {model.inputs[0].name: x}, {"output_0": model(x)}, version=version)


def functional_dict() -> None:
    """Write dicts in and out: outputs have the keys, inputs the names of the Input layers."""
    wide, deep = keras.Input((3,), name="wide"), keras.Input((2,), name="deep")
    joined = layers.Concatenate()([wide, deep])
    outputs = {"score": layers.Dense(1, name="first")(joined), "shares": layers.Softmax(name="second")(joined)}
    model = keras.Model({"left": wide, "right": deep}, outputs)
    exported(model, "keras_functional_dict", "keras-functional")
    x, y = normal(4, 3), normal(4, 2)
    answers = model({"left": x, "right": y})
    zoo.call("keras_functional_dict", {"wide": x, "deep": y}, {key: answers[key] for key in outputs})


def functional_list() -> None:
    """Write a list of outputs: they are numbered, the layers' names are lost."""
    x = keras.Input((3,), name="features")
    model = keras.Model([x], [layers.Dense(2, name="mean")(x), layers.Dense(1, name="variance")(x)])
    exported(model, "keras_functional_list", "keras-outputs")
    mean, variance = model(normal(4, 3))
    zoo.call("keras_functional_list", {"features": normal(4, 3)}, {"output_0": mean, "output_1": variance})


class Pair(keras.Model):
    """A subclassed model with two inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.dense = layers.Dense(2)

    def call(self, inputs: list[tf.Tensor]) -> tf.Tensor:
        left, right = inputs
        return self.dense(left) * right


def subclassed() -> None:
    """Write a model whose inputs have no names of their own."""
    model = Pair()
    pair = [normal(4, 3), normal(4, 2)]
    answer = model(pair)
    exported(model, "keras_subclassed", "keras-subclassed")
    zoo.call("keras_subclassed", {"args_0": pair[0], "args_0_1": pair[1]}, {"output_0": answer})


def sparse() -> None:
    """Write a sparse input: the signature takes a dense one."""
    x = keras.Input((4,), sparse=True, name="counts")
    model = keras.Model(x, layers.Dense(2)(x))
    exported(model, "keras_sparse_input", "keras-sparse")
    counts = np.eye(4, dtype=np.float32)[:3]
    zoo.call("keras_sparse_input", {"counts": counts}, {"output_0": model(counts)})


def ragged() -> None:
    """Write a ragged input: the signature takes a dense one."""
    x = keras.Input((None,), ragged=True, dtype="int32", name="tokens")
    model = keras.Model(x, layers.GlobalAveragePooling1D()(layers.Embedding(8, 2)(x)))
    exported(model, "keras_ragged_input", "keras-sparse")
    tokens = np.array([[1, 2, 0], [3, 4, 5]], np.int32)
    zoo.call("keras_ragged_input", {"tokens": tokens}, {"output_0": model(tokens)})


def static_batch() -> None:
    """Write a fixed batch dimension: rows of two requests never fit into one run."""
    x = keras.Input(batch_shape=(4, 3), name="features")
    model = keras.Model(x, layers.Dense(2)(x))
    exported(model, "keras_static_batch", "keras-static-batch")
    features = normal(4, 3)
    zoo.call("keras_static_batch", {"features": features}, {"output_0": model(features)}, fixed=True)


def archive() -> None:
    """Write several endpoints: the first one is `serving_default`, too."""
    inner = keras.Sequential([keras.Input((3,)), layers.Dense(2)])
    archived = keras.export.ExportArchive()
    archived.track(inner)
    spec = [keras.InputSpec(shape=(None, 3), dtype="float32", name="features")]
    archived.add_endpoint("embed", lambda features: {"vector": inner(features)}, spec)
    archived.add_endpoint("score", lambda features: {"score": keras.ops.sum(inner(features), axis=-1)}, spec)
    archived.write_out(zoo.model("keras_export_archive", "keras-archive"), verbose=False)
    x = normal(4, 3)
    vector = inner(x)
    for signature in ("serving_default", "embed"):
        zoo.call("keras_export_archive", {"features": x}, {"vector": vector}, signature=signature)
    zoo.call("keras_export_archive", {"features": x}, {"score": keras.ops.sum(vector, axis=-1)}, signature="score")


def mixed(policy: str) -> None:
    """Write a model whose output has sixteen bits."""
    x = keras.Input((3,), name="features")
    model = keras.Model(x, layers.Dense(2, dtype=policy)(x))
    name = f"keras_{policy}"
    exported(model, name, "keras-mixed")
    zoo.call(name, {"features": normal(4, 3)}, {"output_0": model(normal(4, 3))}, tolerance=0.02, json_refused=True)


def quantized(mode: str) -> None:
    """Write a quantized model: float32 at the edges."""
    x = keras.Input((4,), name="features")
    model = keras.Model(x, layers.Dense(3)(x))
    model.quantize(mode)
    name = f"keras_{mode}"
    exported(model, name, "keras-quantized")
    zoo.call(name, {"features": normal(4, 4)}, {"output_0": model(normal(4, 4))}, tolerance=0.02)


def text() -> None:
    """Write models with vocabularies, which lie in the graph."""
    words = keras.Input((1,), dtype="string", name="words")
    model = keras.Model(words, layers.StringLookup(vocabulary=["one", "two"])(words))
    exported(model, "keras_string_lookup", "keras-text")
    given = np.array([[b"two"], [b"drei"], [b"one"]], dtype=object)
    zoo.call("keras_string_lookup", {"words": given}, {"output_0": model(tf.constant(given))})
    model = keras.Model(words, layers.TextVectorization(vocabulary=["tea", "milk"], output_sequence_length=3)(words))
    exported(model, "keras_text_vectorization", "keras-text")
    given = np.array([[b"Milk, tea!"], ["Käse".encode()]], dtype=object)
    zoo.call("keras_text_vectorization", {"words": given}, {"output_0": model(tf.constant(given))})


def main() -> None:
    """Write all models."""
    for build in (
        sequential,
        functional_dict,
        functional_list,
        subclassed,
        sparse,
        ragged,
        static_batch,
        archive,
        text,
    ):
        keras.utils.set_random_seed(SEED)
        build()
    for policy in ("mixed_bfloat16", "mixed_float16"):
        keras.utils.set_random_seed(SEED)
        mixed(policy)
    for mode in ("int8", "int4", "float8"):
        keras.utils.set_random_seed(SEED)
        quantized(mode)
    zoo.write()


if __name__ == "__main__":
    main()
