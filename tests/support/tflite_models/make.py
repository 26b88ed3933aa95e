"""Makes the TensorFlow Lite models of the tests anew: `python tests/support/tflite_models/make.py`.

Runs alone, in an environment that has TensorFlow and ai-edge-litert; the models are kept beside it. Values are fixed.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
import tensorflow as tf
from ai_edge_litert import schema_py_generated as schema
from flatbuffers import flexbuffers

HERE = Path(__file__).resolve().parent
METADATA = b"signature_defs_metadata"
PREDICT = "tensorflow/serving/predict"


def spec(name: str, dtype: tf.DType = tf.float32, shape: tuple[int | None, ...] = (None,)) -> tf.TensorSpec:
    """Describe an input."""
    return tf.TensorSpec(shape, dtype, name=name)


def converted(functions: Mapping[str, tuple[Callable[..., Any], list[tf.TensorSpec]]], **options: Any) -> bytes:
    """Convert a SavedModel with these signatures, as most users do."""
    module = tf.Module()
    traced = {key: tf.function(body, input_signature=specs) for key, (body, specs) in functions.items()}
    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(module, folder, signatures=traced)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=list(functions))
        for name, value in options.items():
            setattr(converter, name, value)
        return converter.convert()


def served(body: Callable[..., Any], *specs: tf.TensorSpec, **options: Any) -> bytes:
    """Convert one signature, `serving_default`."""
    return converted({"serving_default": (body, list(specs))}, **options)


def old(model: bytes, names: Mapping[str, str], metadata: Mapping[str, Any] | None = None) -> bytes:
    """Write a model as converters did before signatures: tensors renamed, with TensorFlow Serving's metadata or none."""
    unpacked = schema.ModelT.InitFromPackedBuf(model, 0)
    unpacked.signatureDefs = None
    for tensor in unpacked.subgraphs[0].tensors:
        tensor.name = names.get(tensor.name.decode(), tensor.name.decode()).encode()
    if metadata is not None:
        _add(unpacked, METADATA, flexible({key: one.SerializeToString() for key, one in metadata.items()}))
    return packed(unpacked)


def flexible(texts: Mapping[str, bytes]) -> bytes:
    """Write a map as TensorFlow Lite's `SetSignatureDefMap` does: strings that need not be UTF-8."""
    builder = flexbuffers.Builder()
    with builder.Map():
        for key, content in texts.items():
            builder.Key(key)
            builder._WriteBlob(content, append_zero=True, type_=flexbuffers.Type.STRING)
    return bytes(builder.Finish())


def _add(unpacked: Any, name: bytes, content: bytes) -> None:
    buffer, entry = schema.BufferT(), schema.MetadataT()
    buffer.data = np.frombuffer(bytes(content), np.uint8)
    entry.name, entry.buffer = name, len(unpacked.buffers)
    unpacked.buffers.append(buffer)
    unpacked.metadata = [*(unpacked.metadata or []), entry]


def packed(unpacked: Any) -> bytes:
    """Write a model."""
    builder = flatbuffers.Builder(1024)
    builder.Finish(unpacked.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def unknown_operation(model: bytes) -> bytes:
    """Write a model whose only operation nobody has."""
    unpacked = schema.ModelT.InitFromPackedBuf(model, 0)
    for code in unpacked.operatorCodes:
        code.builtinCode = schema.BuiltinOperator.CUSTOM
        code.deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
        code.customCode = b"Mystery"
    return packed(unpacked)


def definition(inputs: Mapping[str, str], outputs: Mapping[str, str], method: str = PREDICT) -> Any:
    """Return a SignatureDef over float tensors of one row."""
    made = tf.compat.v1.saved_model.signature_def_utils
    info = tf.compat.v1.saved_model.build_tensor_info
    with tf.Graph().as_default():
        row = info(tf.compat.v1.placeholder(tf.float32, [1, 1]))

    def named(names: Mapping[str, str]) -> dict[str, Any]:
        infos = {}
        for key, tensor in names.items():
            infos[key] = type(row).FromString(row.SerializeToString())
            infos[key].name = tensor
        return infos

    return made.build_signature_def(named(inputs), named(outputs), method)


def half_plus_two(x: tf.Tensor) -> dict[str, tf.Tensor]:
    """TensorFlow Serving's own test model."""
    return {"y": x * 0.5 + 2.0}


def quantized(io: tf.DType) -> bytes:
    """Convert a small convolution to integers."""
    rng = np.random.default_rng(7)
    kernel = tf.constant(rng.standard_normal((3, 3, 1, 4)).astype(np.float32))
    dense = tf.constant(rng.standard_normal((4, 3)).astype(np.float32))

    def body(image: tf.Tensor) -> dict[str, tf.Tensor]:
        features = tf.nn.relu(tf.nn.conv2d(image, kernel, strides=2, padding="SAME"))
        return {"scores": tf.nn.softmax(tf.linalg.matmul(tf.reduce_mean(features, [1, 2]), dense))}

    def samples() -> Any:
        for _ in range(20):
            yield [rng.random((1, 8, 8, 1)).astype(np.float32)]

    return served(
        body,
        spec("image", tf.float32, (None, 8, 8, 1)),
        optimizations=[tf.lite.Optimize.DEFAULT],
        representative_dataset=samples,
        target_spec=tf.lite.TargetSpec(supported_ops=[tf.lite.OpsSet.TFLITE_BUILTINS_INT8]),
        inference_input_type=io,
        inference_output_type=io,
    )


def cast_all(dtypes: list[tf.DType]) -> bytes:
    """Convert a function that gives back one input of each type, and whether they are zero."""

    def body(**inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        return {f"{name}_twice": tf.concat([one, one], axis=1) for name, one in inputs.items()}

    specs = [spec(dtype.name, dtype, (None, 2)) for dtype in dtypes]
    module = tf.Module()
    traced = tf.function(body).get_concrete_function(**{one.name: one for one in specs})
    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(module, folder, signatures={"serving_default": traced})
        return tf.lite.TFLiteConverter.from_saved_model(folder).convert()


def recurrent() -> bytes:
    """Write one recurrent layer, whose state the interpreter itself keeps: converters write it for old models only."""
    model, graph, code, operator = schema.ModelT(), schema.SubGraphT(), schema.OperatorCodeT(), schema.OperatorT()
    model.version, model.description, model.buffers = 3, b"recurrent", [schema.BufferT()]
    weights = {b"weights": np.eye(2), b"recurrent": np.eye(2) * 0.5, b"bias": np.zeros(2)}
    graph.tensors = [_tensor(model, b"x", (1, 2))]
    graph.tensors += [_tensor(model, name, value.shape, value.astype(np.float32)) for name, value in weights.items()]
    graph.tensors += [_tensor(model, b"state", (1, 2)), _tensor(model, b"y", (1, 2))]
    graph.tensors[4].isVariable = True
    graph.inputs, graph.outputs, graph.operators = [0], [5], [operator]
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.RNN
    operator.inputs, operator.outputs = [0, 1, 2, 3, 4], [5]
    operator.builtinOptionsType, operator.builtinOptions = schema.BuiltinOptions.RNNOptions, schema.RNNOptionsT()
    model.operatorCodes, model.subgraphs = [code], [graph]
    return packed(model)


def _tensor(model: Any, name: bytes, shape: tuple[int, ...], value: np.ndarray | None = None) -> Any:
    tensor = schema.TensorT()
    tensor.name, tensor.shape, tensor.buffer = name, list(shape), 0
    if value is not None:
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(value.tobytes(), np.uint8)
        tensor.buffer = len(model.buffers)
        model.buffers.append(buffer)
    return tensor


def models() -> dict[str, Callable[[], bytes]]:
    """Name every model's recipe."""
    row = spec("x", tf.float32, (1, 1))
    plain = lambda: served(half_plus_two, row)  # noqa: E731
    return {
        "half_plus_two": lambda: old(plain(), NAMES),
        "half_plus_two_metadata": lambda: old(
            plain(),
            NAMES | {"serving_default_x:0": "tflite_input"},
            {"serving_default": definition({"x": "tflite_input:0"}, {"y": "y:0"})},
        ),
        "two_metadata": lambda: old(
            plain(),
            NAMES,
            {
                "serving_default": definition({"x": "x:0"}, {"y": "y"}),
                "regress": definition({"inputs": "x"}, {"outputs": "y:0"}, "tensorflow/serving/regress"),
            },
        ),
        "unknown_tensor": lambda: old(plain(), NAMES, {"serving_default": definition({"x": "z:0"}, {"y": "y"})}),
        "unknown_operation": lambda: unknown_operation(plain()),
        "broken_metadata": lambda: old(plain(), NAMES, {"serving_default": _Broken()}),
        "named": lambda: served(
            lambda x: {"sum": tf.reduce_sum(x, axis=1), "twice": x * 2.0}, spec("x", tf.float32, (None, 2))
        ),
        "two_signatures": lambda: converted(
            {
                "double": (lambda x: {"y": x * 2.0}, [spec("x", tf.float32, (None, 2))]),
                "halve": (lambda x: {"y": x * 0.5}, [spec("x", tf.float32, (None, 2))]),
            }
        ),
        "fixed_rows": lambda: served(
            lambda x: {"y": tf.reshape(tf.reduce_sum(tf.reshape(x, [2, 2]), 0), [1, 2])}, spec("x", tf.float32, (1, 4))
        ),
        "two_inputs": lambda: served(
            lambda a, b: {"y": a - b}, spec("a", tf.float32, (None, 2)), spec("b", tf.float32, (None, 2))
        ),
        "scalar": lambda: served(lambda x: {"y": x * 3.0}, spec("x", tf.float32, ())),
        "words": lambda: served(
            lambda words, places: {"chosen": tf.gather(words, places)},
            spec("words", tf.string, (None,)),
            spec("places", tf.int32, (None,)),
        ),
        "is_yes": lambda: served(lambda words: {"is_yes": tf.equal(words, b"yes")}, spec("words", tf.string, (None,))),
        "types": lambda: cast_all([tf.float32, tf.int32, tf.uint8, tf.int64, tf.bool, tf.int16, tf.int8, tf.uint32]),
        "complex": lambda: served(
            lambda z: {"real": tf.math.real(z), "same": tf.reshape(z, [-1, 2])}, spec("z", tf.complex64, (None, 2))
        ),
        "doubles": lambda: served(lambda d: {"single": tf.cast(d, tf.float32)}, spec("d", tf.float64, (None, 2))),
        "recurrent": recurrent,
        "quantized_int8": lambda: quantized(tf.int8),
        "quantized_uint8": lambda: quantized(tf.uint8),
    }


NAMES = {"serving_default_x:0": "x", "StatefulPartitionedCall:0": "y", "PartitionedCall:0": "y"}


class _Broken:
    """A SignatureDef that cannot be read."""

    def SerializeToString(self) -> bytes:
        return b"\x0a\xff\xff\xff\xff\xff"


def main() -> None:
    """Make all models."""
    for name, recipe in models().items():
        content = recipe()
        file = HERE / name / "1" / "model.tflite"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        print(name, len(content))


if __name__ == "__main__":
    main()
