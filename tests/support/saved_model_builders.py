"""Builds the test models with Python TensorFlow; runs only in a process of its own, started by `saved_models`."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

v1 = tf.compat.v1
Arrays = dict[str, np.ndarray]

IDENTITY_DTYPES = (
    tf.float32,
    tf.float64,
    tf.int8,
    tf.uint8,
    tf.int16,
    tf.uint16,
    tf.int32,
    tf.uint32,
    tf.int64,
    tf.uint64,
    tf.bool,
    tf.half,
    tf.bfloat16,
    tf.complex64,
    tf.complex128,
    tf.string,
)


def spec(dtype: tf.DType, name: str, shape: list[int | None] | None = None) -> tf.TensorSpec:
    """Declare an input; without a shape, one that takes every rank."""
    return tf.TensorSpec(shape, dtype, name=name)


def function(body: Callable[..., Mapping[str, tf.Tensor]], *specs: tf.TensorSpec) -> Any:
    """Trace one signature."""
    return tf.function(body, input_signature=specs)


def save(out: Path, name: str, module: tf.Module, version: int = 1, **signatures: Any) -> None:
    """Write one version of a TF2 model."""
    concrete = {key: traced.get_concrete_function() for key, traced in signatures.items()}
    tf.saved_model.save(module, str(out / name / str(version)), signatures=concrete or None)


def half_plus(out: Path, name: str, addend: float, version: int = 1) -> None:
    """Write y = 0.5 x + addend for x of any shape."""
    module = tf.Module()
    module.slope, module.addend = tf.Variable(0.5), tf.Variable(addend)
    traced = function(lambda x: {"y": module.slope * x + module.addend}, spec(tf.float32, "x"))
    save(out, name, module, version, serving_default=traced)


def mlp(out: Path) -> None:
    """Write a small Keras network the way Keras 3 exports it."""
    keras = tf.keras
    keras.utils.set_random_seed(7)
    model = keras.Sequential(
        [
            keras.Input((32,), name="features"),
            keras.layers.Dense(256, activation="relu"),
            keras.layers.Dense(256, activation="relu"),
            keras.layers.Dense(2, activation="softmax"),
        ],
    )
    model.export(str(out / "mlp" / "1"), verbose=False)


def vocabulary(out: Path) -> None:
    """Write a lookup table that is filled from an asset file."""
    words = out / "words.txt"
    words.write_text("zero\none\ntwo\ndrei — 三\n", encoding="utf-8")
    module = tf.Module()
    module.asset = tf.saved_model.Asset(str(words))
    index = tf.lookup.TextFileIndex
    initializer = tf.lookup.TextFileInitializer(module.asset, tf.string, index.WHOLE_LINE, tf.int64, index.LINE_NUMBER)
    module.table = tf.lookup.StaticHashTable(initializer, default_value=-1)
    traced = function(lambda words: {"ids": module.table.lookup(words)}, spec(tf.string, "words", [None]))
    save(out, "vocabulary", module, serving_default=traced)
    words.unlink()


def text_upper(out: Path) -> None:
    """Write string in, string out, with and without the `_bytes` ending that REST looks at."""
    text = spec(tf.string, "text")
    save(
        out,
        "text_upper",
        tf.Module(),
        serving_default=function(lambda text: {"upper": tf.strings.upper(text, "utf-8")}, text),
        as_bytes=function(lambda text: {"upper_bytes": tf.strings.upper(text, "utf-8")}, text),
    )


def several(out: Path) -> None:
    """Write three inputs of three types and three outputs."""

    def body(a: tf.Tensor, b: tf.Tensor, s: tf.Tensor) -> Mapping[str, tf.Tensor]:
        whole = tf.cast(b, tf.float32)
        return {"sum": a + whole, "product": a * whole, "echo": tf.identity(s)}

    inputs = (spec(tf.float32, "a", [None]), spec(tf.int32, "b", [None]), spec(tf.string, "s", [None]))
    save(out, "several", tf.Module(), serving_default=function(body, *inputs))


def all_dtypes(out: Path) -> None:
    """Write one identity per element type; the signature is called as the type."""
    signatures = {dtype.name: function(lambda x: {"y": tf.identity(x)}, spec(dtype, "x")) for dtype in IDENTITY_DTYPES}
    save(out, "all_dtypes", tf.Module(), **signatures)


def counter(out: Path) -> None:
    """Write a model with state, some of whose signatures have no inputs."""
    module = tf.Module()
    module.count = tf.Variable(0.0)
    save(
        out,
        "counter",
        module,
        get_counter=function(lambda: {"output": tf.identity(module.count)}),
        incr_counter=function(lambda: {"output": module.count.assign_add(1.0)}),
        reset_counter=function(lambda: {"output": module.count.assign(0.0)}),
        incr_counter_by=function(
            lambda delta: {"output": module.count.assign_add(delta)}, spec(tf.float32, "delta", [])
        ),
    )


def matrix(out: Path) -> None:
    """Write a product with a constant matrix, for batches of any size, zero included."""
    weights = np.arange(6, dtype=np.float32).reshape(3, 2)
    traced = function(lambda x: {"y": x @ weights}, spec(tf.float32, "x", [None, 3]))
    save(out, "matrix", tf.Module(), serving_default=traced)


def two_rows(out: Path) -> None:
    """Write y = 2 x for exactly two rows, as exporters write it that keep a fixed batch."""
    traced = function(lambda x: {"y": 2.0 * tf.reshape(x, [2, 3])}, spec(tf.float32, "x", [2, 3]))
    save(out, "two_rows", tf.Module(), serving_default=traced)


def slow(out: Path) -> None:
    """Write a loop that burns one core for as many rounds as asked."""

    def body(iterations: tf.Tensor) -> Mapping[str, tf.Tensor]:
        start = (tf.constant(0), tf.fill([1000], 1.0))
        loop = tf.while_loop(lambda count, _: count < iterations, lambda count, x: (count + 1, tf.sin(x) + 1.0), start)
        return {"rounds": loop[0], "value": tf.reduce_mean(loop[1])}

    save(out, "slow", tf.Module(), serving_default=function(body, spec(tf.int32, "iterations", [])))


def scalar_output(out: Path) -> None:
    """Write a sum over everything."""
    traced = function(lambda x: {"total": tf.reduce_sum(x)}, spec(tf.float32, "x", [None]))
    save(out, "scalar_output", tf.Module(), serving_default=traced)


def two_variables(out: Path) -> None:
    """Write y = v1 * v2 * x for a scalar x, with v1 = 3 and v2 = 2."""
    module = tf.Module()
    module.v1, module.v2 = tf.Variable(3.0), tf.Variable(2.0)
    traced = function(lambda x: {"y": module.v1 * module.v2 * x}, spec(tf.float32, "x", []))
    save(out, "two_variables", module, serving_default=traced)


def no_signatures(out: Path) -> None:
    """Write a module that declares nothing."""
    save(out, "no_signatures", tf.Module())


def tensor_infos(**tensors: tf.Tensor) -> dict[str, Any]:
    """Describe graph tensors for a hand-made signature."""
    return {key: v1.saved_model.build_tensor_info(tensor) for key, tensor in tensors.items()}


def signature_def(method: str, inputs: dict[str, tf.Tensor], outputs: dict[str, tf.Tensor]) -> Any:
    """Make a hand-made signature."""
    build = v1.saved_model.build_signature_def
    return build(tensor_infos(**inputs), tensor_infos(**outputs), f"tensorflow/serving/{method}")


def half_plus_two_graph() -> dict[str, Any]:
    """Build TensorFlow Serving's half plus two with its classic signatures; answers the signatures."""
    examples = v1.placeholder(tf.string, [None], name="tf_example")
    features = {
        "x": v1.FixedLenFeature([1], tf.float32),
        "x2": v1.FixedLenFeature([1], tf.float32, default_value=[0.0]),
    }
    parsed = v1.parse_example(examples, features)
    x = tf.identity(parsed["x"], name="x")
    x2 = tf.identity(parsed["x2"], name="x2")
    slope, two, three = (
        v1.get_variable(name, initializer=value) for name, value in (("a", 0.5), ("b", 2.0), ("c", 3.0))
    )
    y = tf.add(slope * x, two, name="y")
    y2 = tf.add(slope * x, three, name="y2")
    y3 = tf.add(slope * x2, three, name="y3")
    labels = tf.tile(tf.constant([["low", "high"]]), [tf.shape(y)[0], 1], name="labels")
    scores = tf.concat([1.0 - y, y], axis=1, name="both_scores")
    return {
        "serving_default": signature_def("predict", {"x": x}, {"y": y}),
        "regress_x_to_y": signature_def("regress", {"inputs": examples}, {"outputs": y}),
        "regress_x_to_y2": signature_def("regress", {"inputs": examples}, {"outputs": y2}),
        "classify_x_to_y": signature_def("classify", {"inputs": examples}, {"scores": y}),
        "classify_with_labels": signature_def("classify", {"inputs": examples}, {"classes": labels, "scores": scores}),
        "regress_x2_to_y3": signature_def("regress", {"inputs": x2}, {"outputs": y3}),
        "classify_x2_to_y3": signature_def("classify", {"inputs": x2}, {"scores": y3}),
    }


def save_graph(path: Path, build: Callable[[], dict[str, Any]], *tag_sets: list[str]) -> None:
    """Write a TF1 model, once for every tag set."""
    with tf.Graph().as_default(), v1.Session() as session:
        signatures = build()
        session.run(v1.global_variables_initializer())
        builder = v1.saved_model.Builder(str(path))
        builder.add_meta_graph_and_variables(session, tag_sets[0], signatures)
        for tags in tag_sets[1:]:
            builder.add_meta_graph(tags, signatures)
        builder.save()


def odd_outputs_graph() -> dict[str, Any]:
    """Build outputs whose types only some protocols, or none, can carry."""
    x = v1.placeholder(tf.float32, [None], name="x")
    quantised = tf.quantization.quantize(x, 0.0, 255.0, tf.quint8).output
    variant = tf.raw_ops.EmptyTensorList(element_shape=-1, max_num_elements=1, element_dtype=tf.float32)
    resource = tf.raw_ops.MutableHashTableV2(key_dtype=tf.string, value_dtype=tf.int64)
    outputs = {"quantised": quantised, "variant": variant, "resource": resource}
    return {key: signature_def("predict", {"x": x}, {"y": tensor}) for key, tensor in outputs.items()}


def references_graph() -> dict[str, Any]:
    """Build outputs that are variables of the old kind: by type references, not values."""
    x = v1.placeholder(tf.float32, [2], name="x")
    held = v1.get_variable("held", initializer=[1.0, 2.0], use_resource=False)
    return {
        "read": signature_def("predict", {}, {"y": held}),
        "add": signature_def("predict", {"x": x}, {"y": v1.assign_add(held, x)}),
    }


def unfilled_table_graph() -> dict[str, Any]:
    """Build a lookup in a table that nothing fills: the model loads, and every run fails."""
    words = v1.placeholder(tf.string, [None], name="words")
    content = tf.lookup.KeyValueTensorInitializer(["zero"], tf.constant([0], tf.int64))
    ids = tf.lookup.StaticHashTable(content, -1).lookup(words)
    return {"serving_default": signature_def("predict", {"words": words}, {"ids": ids})}


def build_all(out: Path) -> None:
    """Write every model under `out`."""
    half_plus(out, "half_plus_two", 2.0)
    half_plus(out, "half_plus_three", 3.0)
    for version in (1, 2, 3):
        half_plus(out, "half_plus_two_versions", float(version), version)
    for build in (
        mlp,
        vocabulary,
        text_upper,
        several,
        all_dtypes,
        counter,
        matrix,
        two_rows,
        slow,
        scalar_output,
        two_variables,
        no_signatures,
    ):
        build(out)
    save_graph(out / "tf1_half_plus_two" / "123", half_plus_two_graph, ["serve"])
    save_graph(out / "two_tag_sets" / "1", half_plus_two_graph, ["serve"], ["serve", "gpu"])
    save_graph(out / "odd_outputs" / "1", odd_outputs_graph, ["serve"])
    save_graph(out / "references" / "1", references_graph, ["serve"])
    save_graph(out / "unfilled_table" / "1", unfilled_table_graph, ["serve"])


def examples(*values: float) -> np.ndarray:
    """Serialize one tf.Example for each value of feature `x`."""

    def serialized(value: float) -> bytes:
        feature = tf.train.Feature(float_list=tf.train.FloatList(value=[value]))
        return tf.train.Example(features=tf.train.Features(feature={"x": feature})).SerializeToString()

    return np.array([serialized(value) for value in values], dtype=object)


def identity_input(dtype: tf.DType, random: np.random.Generator) -> np.ndarray:
    """Make a small array with values of all kinds."""
    if dtype == tf.string:
        return np.array([[b"", b"a\0b"], ["päß 三".encode(), b"x" * 70_000]], dtype=object)
    raw = random.integers(-3, 120, size=(2, 3)) * (1.25 if not dtype.is_integer else 1)
    return raw.astype(dtype.as_numpy_dtype)


def calls() -> Iterator[tuple[str, int, str, Arrays]]:
    """List the calls whose answers are recorded: model, version, signature, inputs."""
    random = np.random.default_rng(11)

    def normal(*shape: int) -> np.ndarray:
        return random.standard_normal(shape).astype(np.float32)

    yield "half_plus_two", 1, "serving_default", {"x": normal(3)}
    yield "half_plus_two", 1, "serving_default", {"x": np.array(7.0, np.float32)}
    yield "half_plus_three", 1, "serving_default", {"x": normal(2, 3, 4)}
    for version in (1, 2, 3):
        yield "half_plus_two_versions", version, "serving_default", {"x": normal(5)}
    for rows in (1, 4, 33):
        yield "mlp", 1, "serving_default", {"features": normal(rows, 32)}
    words = np.array([b"one", b"nobody", "drei — 三".encode()], dtype=object)
    yield "vocabulary", 1, "serving_default", {"words": words}
    for signature in ("serving_default", "as_bytes"):
        yield "text_upper", 1, signature, {"text": np.array([["straße".encode(), b"a\0b", b""]], dtype=object)}
    three = {"a": normal(3), "b": np.array([1, -2, 3], np.int32), "s": np.array([b"p", b"", b"q" * 99], dtype=object)}
    yield "several", 1, "serving_default", three
    for dtype in IDENTITY_DTYPES:
        yield "all_dtypes", 1, dtype.name, {"x": identity_input(dtype, random)}
    yield "matrix", 1, "serving_default", {"x": normal(4, 3)}
    yield "matrix", 1, "serving_default", {"x": normal(0, 3)}
    yield "slow", 1, "serving_default", {"iterations": np.array(25, np.int32)}
    yield "two_variables", 1, "serving_default", {"x": np.array(2.0, np.float32)}
    yield "scalar_output", 1, "serving_default", {"x": normal(10)}
    yield "tf1_half_plus_two", 123, "serving_default", {"x": normal(4, 1)}
    for signature in ("regress_x_to_y", "regress_x_to_y2", "classify_x_to_y", "classify_with_labels"):
        yield "tf1_half_plus_two", 123, signature, {"inputs": examples(0.25, -3.5, 80.0)}
    for signature in ("regress_x2_to_y3", "classify_x2_to_y3"):
        yield "tf1_half_plus_two", 123, signature, {"inputs": normal(3, 1)}


def answer(path: Path, signature: str, inputs: Arrays) -> Arrays:
    """Run one call with TensorFlow's own session."""
    with tf.Graph().as_default(), v1.Session() as session:
        definition = v1.saved_model.load(session, ["serve"], str(path)).signature_def[signature]
        feeds = {definition.inputs[key].name: value for key, value in inputs.items()}
        fetches = {key: info.name for key, info in definition.outputs.items()}
        return {key: np.asarray(value) for key, value in session.run(fetches, feeds).items()}


def record_answers(out: Path) -> None:
    """Write what TensorFlow itself answers to every call."""
    recorded = [
        (model, version, signature, inputs, answer(out / model / str(version), signature, inputs))
        for model, version, signature, inputs in calls()
    ]
    (out / "expected.pickle").write_bytes(pickle.dumps(recorded))


def build(out: Path) -> None:
    """Write all models and TensorFlow's answers."""
    build_all(out)
    record_answers(out)
