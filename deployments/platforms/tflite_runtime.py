"""TensorFlow Lite as ai-edge-litert brings it: reading a file, and one interpreter.

Only the processes of its own versions import this.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter
from flatbuffers import flexbuffers

from core.errors import Code, Internal, InvalidArgument, RuntimeFailure, ServingError
from core.inference.dtypes import DataType
from core.platforms.tflite_signatures import (
    METADATA_NAME,
    RESIZED_ROWS,
    LiteFile,
    LiteGraph,
    LiteTensor,
    OwnSignature,
)

NOT_A_MODEL: Final = "Cannot build FlatBufferModel from buffer."
NOT_RUNNABLE: Final = "Cannot build Interpreter from buffer."
IDENTIFIER: Final = b"TFL3"

_type = schema.TensorType
TYPES: Final[Mapping[int, DataType]] = MappingProxyType(
    {
        _type.FLOAT32: DataType.FLOAT,
        _type.FLOAT16: DataType.HALF,
        _type.FLOAT64: DataType.DOUBLE,
        _type.INT8: DataType.INT8,
        _type.INT16: DataType.INT16,
        _type.INT32: DataType.INT32,
        _type.INT64: DataType.INT64,
        _type.UINT8: DataType.UINT8,
        _type.UINT16: DataType.UINT16,
        _type.UINT32: DataType.UINT32,
        _type.UINT64: DataType.UINT64,
        _type.STRING: DataType.STRING,
        _type.BOOL: DataType.BOOL,
        _type.COMPLEX64: DataType.COMPLEX64,
        _type.COMPLEX128: DataType.COMPLEX128,
    }
)


class LiteInterpreter:
    """One interpreter of a file; for one thread at a time, and no longer once a run has raised RuntimeFailure."""

    def __init__(self, content: bytes) -> None:
        """Make it ready to run; raises InvalidArgument or Internal for a file that is not a model or cannot run."""
        self._interpreter = opened(content)
        inputs = self._interpreter.get_input_details()
        self.shapes: dict[int, tuple[int, ...]] = {one["index"]: tuple(map(int, one["shape"])) for one in inputs}
        """The present shapes of the inputs."""

    def run(self, feeds: Mapping[int, np.ndarray], fetches: Sequence[int]) -> list[np.ndarray]:
        """Run the first graph: arrays by the indices of inputs in, copies of outputs out."""
        interpreter = self._interpreter
        with_failures(self._fit, {index: array.shape for index, array in feeds.items()}, text="Failed to fit inputs")
        # States of recurrent layers would go from one request to another.
        interpreter.reset_all_variables()
        for index, array in feeds.items():
            with_failures(interpreter.set_tensor, index, array, text="Failed to set an input")
        with_failures(interpreter.invoke, text="Failed to invoke TfLite interpreter", code=Code.INTERNAL)
        return [np.asarray(interpreter.get_tensor(index)) for index in fetches]

    def run_signature(self, key: str, feeds: Mapping[str, np.ndarray], fetches: Sequence[str]) -> list[np.ndarray]:
        """Run the graph of one of the file's own signatures, by its keys."""
        self._interpreter.reset_all_variables()
        runner = self._interpreter.get_signature_runner(key)
        outputs = with_failures(lambda: runner(**feeds), text="Failed to invoke TfLite interpreter")
        return [np.asarray(outputs[key]) for key in fetches]

    def _fit(self, shapes: Mapping[int, tuple[int, ...]]) -> None:
        """Give the inputs these shapes; costs nothing when they have them."""
        changed = {index: shape for index, shape in shapes.items() if shape != self.shapes[index]}
        if not changed:
            return
        for index, shape in changed.items():
            self._interpreter.resize_tensor_input(index, shape)
        self._interpreter.allocate_tensors()
        self.shapes |= changed

    def takes_any_rows(self) -> bool:
        """Try whether all outputs follow the number of rows of the inputs; the interpreter is of no use after that."""
        try:
            self._fit({index: (RESIZED_ROWS, *shape[1:]) for index, shape in self.shapes.items()})
        except (RuntimeError, ValueError):
            return False
        shapes = [one["shape"] for one in self._interpreter.get_output_details()]
        return all(len(shape) and shape[0] == RESIZED_ROWS for shape in shapes)


def with_failures(call: Any, *arguments: Any, text: str, code: Code = Code.INVALID_ARGUMENT) -> Any:
    """Call the interpreter; its errors become RuntimeFailure with its own text, which may have several lines."""
    try:
        return call(*arguments)
    except (RuntimeError, ValueError, TypeError) as error:
        raise RuntimeFailure(code, f"{text}: {error}") from None


def opened(content: bytes) -> Any:
    """Return an interpreter with its tensors allocated, with one thread."""
    try:
        interpreter = Interpreter(model_content=content or b"-", num_threads=1)
    except (RuntimeError, ValueError) as error:
        if "not a valid Flatbuffer" in str(error) or content[4:8] != IDENTIFIER:
            raise InvalidArgument(f"{NOT_A_MODEL} {error}") from None
        raise Internal(f"{NOT_RUNNABLE} {error}") from None
    try:
        interpreter.allocate_tensors()
    except (RuntimeError, ValueError) as error:
        raise Internal(f"{NOT_RUNNABLE} {error}{_advice(str(error))}") from None
    return interpreter


def _advice(text: str) -> str:
    if "custom op" not in text and "Select TensorFlow op" not in text:
        return ""
    return (
        " The interpreter has TensorFlow Lite's own operations alone: convert the model without custom or Select ones."
    )


def read_file(content: bytes) -> LiteFile:
    """Read a file that an interpreter has taken; raises InvalidArgument or Internal for what cannot be served."""
    try:
        model = schema.Model.GetRootAs(content, 0)
        graphs = tuple(_graph(model.Subgraphs(one)) for one in range(model.SubgraphsLength()))
        own = tuple(_own(model.SignatureDefs(one)) for one in range(model.SignatureDefsLength()))
    except ServingError:
        raise
    except Exception as error:  # noqa: BLE001 - what reading damaged files raises is not bounded
        raise InvalidArgument(f"{NOT_A_MODEL} {type(error).__name__}: {error}") from None
    return LiteFile(graphs, own, _metadata(model))


def _graph(graph: Any) -> LiteGraph:
    inputs = [graph.Inputs(one) for one in range(graph.InputsLength())]
    outputs = [graph.Outputs(one) for one in range(graph.OutputsLength())]
    return LiteGraph(
        tuple((index, _tensor(graph.Tensors(index))) for index in inputs),
        tuple((index, _tensor(graph.Tensors(index))) for index in outputs),
    )


def _tensor(tensor: Any) -> LiteTensor:
    dtype = TYPES.get(tensor.Type())
    if dtype is None:
        raise Internal(f"Unknown TfLite type: {tensor.Type()}")
    shape = tuple(tensor.Shape(one) for one in range(tensor.ShapeLength()))
    declared = tuple(tensor.ShapeSignature(one) for one in range(tensor.ShapeSignatureLength()))
    return LiteTensor((tensor.Name() or b"").decode(), dtype, shape, declared or shape)


def _own(found: Any) -> OwnSignature:
    inputs = [found.Inputs(one) for one in range(found.InputsLength())]
    outputs = [found.Outputs(one) for one in range(found.OutputsLength())]
    return OwnSignature(
        found.SignatureKey().decode(),
        found.SubgraphIndex(),
        {one.Name().decode(): one.TensorIndex() for one in inputs},
        {one.Name().decode(): one.TensorIndex() for one in outputs},
    )


def _metadata(model: Any) -> dict[str, bytes]:
    """Return TensorFlow Serving's SignatureDefs, a map in FlatBuffers' format without a schema."""
    try:
        entries = [model.Metadata(one) for one in range(model.MetadataLength())]
        buffer = next((one.Buffer() for one in entries if one.Name() == METADATA_NAME), None)
        if buffer is None:
            return {}
        found = flexbuffers.GetRoot(bytearray(model.Buffers(buffer).DataAsNumpy())).AsMap
        pairs = zip(found.Keys, found.Values, strict=True)
        return {key.AsKeyBytes.decode(): bytes(value.AsStringBytes) for key, value in pairs}
    except Exception as error:  # noqa: BLE001 - what reading damaged files raises is not bounded
        text = f"Invalid SignatureDefs found in TfLite model: {type(error).__name__}: {error}"
        raise InvalidArgument(text) from None
