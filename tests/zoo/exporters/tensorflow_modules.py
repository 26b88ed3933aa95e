"""TensorFlow itself: `tf.saved_model.save` of modules, and the builder of TensorFlow 1 for what only it can write."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
from recording import Recorder, normal
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

v1 = tf.compat.v1
zoo = Recorder(sys.argv[1], __file__, {"tensorflow": tf.__version__})
METHOD = "tensorflow/serving/"
TWO = tf.constant(2.0)


def traced(body: Callable[..., Any], *specs: tf.TensorSpec) -> Any:
    """Trace a function for these inputs."""
    return tf.function(body, input_signature=specs)


def floats(name: str, *shape: int | None) -> tf.TensorSpec:
    """Describe an input."""
    return tf.TensorSpec(shape, tf.float32, name=name)


def saved(name: str, row: str, signature: Any, version: int = 1, module: tf.Module | None = None, **more: Any) -> str:
    """Write a module with one signature; returns its folder."""
    path = zoo.model(name, row, version)
    tf.saved_model.save(module or tf.Module(), path, signatures=signature, **more)
    return path


def defaults() -> None:
    """Write a default value of an input: a call may leave it out."""

    @tf.function(input_signature=[floats("x", None, 2), floats("scale")])
    def scaled(x: tf.Tensor, scale: tf.Tensor = TWO) -> dict[str, tf.Tensor]:
        return {"y": x * scale}

    saved("tf_defaults", "tf-defaults", scaled)
    x = normal(3, 2)
    zoo.call("tf_defaults", {"x": x}, scaled(x), rows=False, grpc_only=True)
    zoo.call("tf_defaults", {"x": x, "scale": np.float32(3.0)}, scaled(x, tf.constant(3.0)), rows=False)


def composite() -> None:
    """Write functions that return no plain tensors: one output, which has no name in the graph."""
    ragged = traced(lambda x: {"tokens": tf.strings.split(x)}, tf.TensorSpec([None], tf.string, name="x"))
    saved("tf_ragged_output", "tf-composite", ragged)
    words = {"x": np.array([b"a b", b"c"], dtype=object)}
    zoo.call("tf_ragged_output", words, error="tokens", rows=False)
    sparse = traced(lambda x: {"found": tf.sparse.from_dense(x)}, floats("x", None, 2))
    saved("tf_sparse_output", "tf-composite", sparse)
    zoo.call("tf_sparse_output", {"x": normal(2, 2)}, error="found", rows=False)


def table() -> None:
    """Write a table that is read from a file in `assets` when the model is loaded."""
    with tempfile.TemporaryDirectory() as folder:
        file = os.path.join(folder, "words.txt")
        with open(file, "w", encoding="utf-8") as lines:
            lines.write("tea\nmilk\n")
        module = tf.Module()
        ids = tf.lookup.TextFileInitializer(
            tf.saved_model.Asset(file), tf.string, tf.lookup.TextFileIndex.WHOLE_LINE, tf.int64, tf.lookup.TextFileIndex.LINE_NUMBER
        )  # fmt: skip
        module.table = tf.lookup.StaticHashTable(ids, -1)
        find = traced(lambda words: {"ids": module.table.lookup(words)}, tf.TensorSpec([None], tf.string, name="words"))
        saved("tf_assets_table", "tf-assets", find, module=module)
        words = np.array([b"milk", b"none", b"tea"], dtype=object)
        zoo.call("tf_assets_table", {"words": words}, {"ids": module.table.lookup(tf.constant(words))})


def sharded() -> None:
    """Write variables in several files."""
    module = tf.Module()
    module.parts = [tf.Variable(normal(3, 4) + number) for number in range(3)]
    mix = traced(lambda x: {"y": tf.add_n([x @ one for one in module.parts])}, floats("x", None, 3))
    policy = tf.train.experimental.MaxShardSizePolicy(max_shard_size=100)
    options = tf.saved_model.SaveOptions(experimental_sharding_callback=policy)
    saved("tf_sharded", "tf-sharded", mix, module=module, options=options)
    zoo.call("tf_sharded", {"x": normal(4, 3)}, mix(normal(4, 3)), tolerance=1e-4)


def python_function() -> None:
    """Write an operation that calls back into Python: it exists in the process that wrote it only."""

    def halved(x: np.ndarray) -> np.ndarray:
        return x / 2

    call = traced(lambda x: {"y": tf.numpy_function(halved, [x], tf.float32)}, floats("x", None))
    saved("tf_py_function", "tf-py-function", call)
    zoo.call("tf_py_function", {"x": normal(3)}, error="pyfunc", rows=False)


def with_warm_up() -> None:
    """Write a folder as TFX's Pusher leaves it: its name is the second of the push, with requests for a warm-up."""
    version = 1764374400
    double = traced(lambda x: {"y": 2.0 * x}, floats("x", None, 2))
    path = saved("tfx_pushed", "tfx", double, version)
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "tfx_pushed"
    request.inputs["x"].CopyFrom(tf.make_tensor_proto(normal(2, 2)))
    log = prediction_log_pb2.PredictionLog(predict_log=prediction_log_pb2.PredictLog(request=request))
    extra = os.path.join(path, "assets.extra")
    os.makedirs(extra)
    with tf.io.TFRecordWriter(os.path.join(extra, "tf_serving_warmup_requests")) as records:
        records.write(log.SerializeToString())
    zoo.call("tfx_pushed", {"x": normal(4, 2)}, double(normal(4, 2)), version=version)


def signature_def(method: str, inputs: dict[str, tf.Tensor], outputs: dict[str, tf.Tensor]) -> Any:
    """Describe a signature of a graph."""
    infos = [{key: v1.saved_model.build_tensor_info(one) for key, one in tensors.items()} for tensors in (inputs, outputs)]  # fmt: skip
    return v1.saved_model.build_signature_def(*infos, METHOD + method)


def graph() -> tuple[dict[str, Any], tf.Tensor]:
    """Build y = 0.5 x + 2 with the signatures of TensorFlow 1; returns them and the value for examples."""
    examples = v1.placeholder(tf.string, [None], name="tf_example")
    parsed = v1.parse_example(examples, {"x": v1.FixedLenFeature([1], tf.float32)})
    x = tf.identity(parsed["x"], name="x")
    slope, addend = (v1.get_variable(name, initializer=value) for name, value in (("slope", 0.5), ("addend", 2.0)))
    y = tf.add(slope * x, addend, name="y")
    labels = tf.tile(tf.constant([["low", "high"]]), [tf.shape(y)[0], 1])
    scores = tf.concat([1.0 - y, y], axis=1)
    return {
        "serving_default": signature_def("predict", {"x": x}, {"y": y}),
        "regress": signature_def("regress", {"inputs": examples}, {"outputs": y}),
        "classify": signature_def("classify", {"inputs": examples}, {"classes": labels, "scores": scores}),
    }


def write_graph(path: str, *tag_sets: list[str], as_text: bool = False) -> None:
    """Write the graph, once for every set of tags, with the variables' values."""
    with tf.Graph().as_default(), v1.Session() as session:
        signatures = graph()
        session.run(v1.global_variables_initializer())
        builder = v1.saved_model.Builder(path)
        builder.add_meta_graph_and_variables(session, tag_sets[0], signatures)
        for tags in tag_sets[1:]:
            builder.add_meta_graph(tags, signatures)
        builder.save(as_text=as_text)


def graphs() -> None:
    """Write graphs as TensorFlow 1 knows them: by text, for several sets of tags, with classify and regress."""
    write_graph(zoo.model("tf_graph", "tf-graph"), ["serve"])
    write_graph(zoo.model("tf_pbtxt", "tf-pbtxt"), ["serve"], as_text=True)
    write_graph(zoo.model("tf_tag_sets", "tf-tag-sets"), ["serve"], ["serve", "tpu"])
    x = normal(3, 1)
    answer = {"y": 0.5 * x + 2.0}
    for name in ("tf_graph", "tf_pbtxt", "tf_tag_sets"):
        zoo.call(name, {"x": x}, answer)
    zoo.call("tf_tag_sets", {"x": x}, answer, tags=["serve", "tpu"])
    examples = [{"x": float(one)} for one in x.ravel()]
    zoo.call("tf_graph", {}, {"outputs": answer["y"]}, signature="regress", method="regress", examples=examples)
    scores = np.concatenate([1.0 - answer["y"], answer["y"]], axis=1)
    outputs = {"classes": np.array([[b"low", b"high"]] * 3, dtype=object), "scores": scores}
    zoo.call("tf_graph", {}, outputs, signature="classify", method="classify", examples=examples)


def main() -> None:
    """Write all models."""
    for build in (defaults, composite, table, sharded, python_function, with_warm_up, graphs):
        build()
    zoo.write()


if __name__ == "__main__":
    main()
