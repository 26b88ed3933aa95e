"""Signatures of a TensorFlow Lite model, as TensorFlow Serving finds them, and those that the file names itself.

TensorFlow Serving takes SignatureDefs from the file's metadata; without them it makes one, `serving_default`, whose
keys are the names of the tensors cut at their first `:`. The signatures that converters have written since TensorFlow
2.5 stand elsewhere in the file, and TensorFlow Serving does not know them; here they are served beside that one.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Final

from google.protobuf.message import DecodeError

from core.errors import Code, Internal, InvalidArgument, RuntimeFailure
from core.inference.dtypes import DataType
from core.inference.signature import DEFAULT_SIGNATURE, PREDICT_METHOD, Signature, TensorSpec, signature
from core.protos import serving_pb2, tensor_pb2

log = logging.getLogger(__name__)

METADATA_NAME: Final = b"signature_defs_metadata"
OWN_DEFAULT: Final = "tflite_serving_default"
"""Key of the file's own `serving_default`, whose place that of TensorFlow Serving has."""

RESIZED_ROWS: Final = 2
"""Rows with which a model is tried: it takes any number if its outputs follow."""


@dataclass(frozen=True, slots=True)
class LiteTensor:
    """An input or output; `declared` is its shape with -1 for a dimension that the file leaves open, `shape` with 1."""

    name: str
    dtype: DataType
    shape: tuple[int, ...]
    declared: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class LiteGraph:
    """One graph of a file: its inputs and outputs by their indices, in the file's order."""

    inputs: tuple[tuple[int, LiteTensor], ...]
    outputs: tuple[tuple[int, LiteTensor], ...]


@dataclass(frozen=True, slots=True)
class OwnSignature:
    """A signature that the file itself names: keys to indices of tensors of one graph."""

    key: str
    graph: int
    inputs: Mapping[str, int]
    outputs: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class LiteFile:
    """What a file says of its signatures; `metadata` holds serialized SignatureDefs by their keys."""

    graphs: tuple[LiteGraph, ...]
    own: tuple[OwnSignature, ...] = ()
    metadata: Mapping[str, bytes] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class LiteSignatures:
    """The signatures of a version.

    `definitions` is the serialized SignatureDefMap, `calls` finds the signature and its keys by `TensorSpec.tensor` for
    those tensors that are not in the file's first graph.
    """

    signatures: Mapping[str, Signature]
    definitions: bytes
    calls: Mapping[str, tuple[str, str]]


def takes_any_rows(graph: LiteGraph) -> bool | None:
    """Whether a graph takes any number of rows, by its file; None if only a trial can tell."""
    inputs = [tensor for _, tensor in graph.inputs]
    if not inputs or not all(tensor.shape for tensor in inputs):
        return False
    return True if all(tensor.declared[0] < 0 for tensor in inputs) else None


def signatures_of(file: LiteFile, *, any_rows: bool) -> LiteSignatures:
    """Return the signatures of a file; `any_rows`: the number of rows of its first graph is free.

    Raises InvalidArgument for SignatureDefs that cannot be read, and RuntimeFailure with TensorFlow Serving's codes and
    texts for those that do not fit the tensors.
    """
    made = _from_metadata(file) if file.metadata else _from_tensors(file)
    signatures = {key: _with_rows(definition, file.graphs[0], any_rows=any_rows) for key, definition in made.items()}
    calls: dict[str, tuple[str, str]] = {}
    for own in () if file.metadata else file.own:
        key = OWN_DEFAULT if own.key in made else own.key
        made[key] = _own_definition(own, file.graphs[own.graph])
        signatures[key] = _own_signature(own, file.graphs[own.graph], any_rows=any_rows)
        if own.graph:
            calls |= _calls(own, signatures[key])
    definitions = serving_pb2.SignatureDefMap(signature_def=made).SerializeToString(deterministic=True)
    return LiteSignatures(MappingProxyType(signatures), definitions, MappingProxyType(calls))


def _from_metadata(file: LiteFile) -> dict[str, tensor_pb2.SignatureDef]:
    """Read the SignatureDefs of TensorFlow Serving, and correct the names of their tensors."""
    graph = file.graphs[0]
    made: dict[str, tensor_pb2.SignatureDef] = {}
    for key, content in file.metadata.items():
        try:
            made[key] = definition = tensor_pb2.SignatureDef.FromString(content)
        except DecodeError:
            text = "Invalid SignatureDefs found in TfLite model: Cannot parse signature def found in flatbuffer."
            raise InvalidArgument(text) from None
        _correct("input", definition.inputs, {tensor.name for _, tensor in graph.inputs})
        _correct("output", definition.outputs, {tensor.name for _, tensor in graph.outputs})
    return made


def _correct(kind: str, infos: Mapping[str, tensor_pb2.TensorInfo], names: set[str]) -> None:
    for key, info in infos.items():
        known = known_name(info.name, names)
        if known is None:
            text = f"Unknown tensor '{info.name}'.\n\tSignature {kind} {key} references an unknown tensor"
            raise Internal(text)
        info.name = known


def known_name(name: str, names: Mapping[str, object] | set[str]) -> str | None:
    """Return the name that the file has for a tensor: old converters cut the `:0` of TensorFlow's names."""
    return next((one for one in (name, _cut(name)) if one in names), None)


def _cut(name: str) -> str:
    return name.partition(":")[0]


def _from_tensors(file: LiteFile) -> dict[str, tensor_pb2.SignatureDef]:
    """Make the signature that TensorFlow Serving makes; none for a graph that it refuses and whose own ones serve."""
    graph = file.graphs[0]
    try:
        inputs = _infos("Input", [tensor for _, tensor in graph.inputs])
        outputs = _infos("Output", [tensor for _, tensor in graph.outputs])
    except RuntimeFailure:
        if file.own:
            return {}
        raise
    if file.own and all(own.graph for own in file.own):
        return {}
    definition = tensor_pb2.SignatureDef(inputs=_whole(inputs), outputs=_keyed(outputs), method_name=PREDICT_METHOD)
    return {DEFAULT_SIGNATURE: definition}


def _infos(kind: str, tensors: list[LiteTensor]) -> dict[str, tensor_pb2.TensorInfo]:
    infos: dict[str, tensor_pb2.TensorInfo] = {}
    for tensor in tensors:
        if tensor.name in infos:
            text = f"{kind} tensor name: {tensor.name} has multiple indices"
            raise RuntimeFailure(Code.ALREADY_EXISTS, text)
        infos[tensor.name] = _info(tensor, tensor.shape)
    return dict(sorted(infos.items()))


def _keyed(infos: Mapping[str, tensor_pb2.TensorInfo]) -> dict[str, tensor_pb2.TensorInfo]:
    """Cut the names: of those that become equal the last one is kept, as in TensorFlow Serving."""
    keyed = {_cut(name): info for name, info in infos.items()}
    if len(keyed) < len(infos):
        hidden = sorted(infos.keys() - {info.name for info in keyed.values()})
        log.warning("outputs_hidden signature=%s tensors=%s", DEFAULT_SIGNATURE, ",".join(hidden))
    return keyed


def _whole(infos: Mapping[str, tensor_pb2.TensorInfo]) -> dict[str, tensor_pb2.TensorInfo]:
    """Cut the names of inputs, but not where they become equal: an input without a key could not be fed."""
    often = Counter(map(_cut, infos))
    return {_cut(name) if often[_cut(name)] == 1 else name: info for name, info in infos.items()}


def _info(tensor: LiteTensor, shape: tuple[int, ...]) -> tensor_pb2.TensorInfo:
    info = tensor_pb2.TensorInfo(name=tensor.name, dtype=tensor.dtype.wire_name)
    for size in shape:
        info.tensor_shape.dim.add(size=size)
    return info


def _with_rows(definition: tensor_pb2.SignatureDef, graph: LiteGraph, *, any_rows: bool) -> Signature:
    """Read a SignatureDef, whose tensors have as many rows as the graph takes and not as many as it says."""
    made = signature(definition)
    tensors = {tensor.name: tensor for _, tensor in (*graph.inputs, *graph.outputs)}

    def read(specs: Mapping[str, TensorSpec]) -> Mapping[str, TensorSpec]:
        shapes = {key: _rows(tensors[spec.tensor], any_rows=any_rows) for key, spec in specs.items()}
        return MappingProxyType({key: replace(spec, shape=shapes[key]) for key, spec in specs.items()})

    return replace(made, inputs=read(made.inputs), outputs=read(made.outputs))


def _rows(tensor: LiteTensor, *, any_rows: bool) -> tuple[int, ...]:
    if not tensor.declared:
        return ()
    return (-1 if any_rows else tensor.shape[0], *tensor.declared[1:])


def _own_definition(own: OwnSignature, graph: LiteGraph) -> tensor_pb2.SignatureDef:
    inputs, outputs = dict(graph.inputs), dict(graph.outputs)
    return tensor_pb2.SignatureDef(
        inputs={key: _info(inputs[index], inputs[index].declared) for key, index in own.inputs.items()},
        outputs={key: _info(outputs[index], outputs[index].declared) for key, index in own.outputs.items()},
        method_name=PREDICT_METHOD,
    )


def _own_signature(own: OwnSignature, graph: LiteGraph, *, any_rows: bool) -> Signature:
    """Read one of the file's signatures; tensors of further graphs are named by it, for their names may be the same."""
    if own.graph:
        any_rows = takes_any_rows(graph) is True
    inputs, outputs = dict(graph.inputs), dict(graph.outputs)

    def spec(key: str, tensor: LiteTensor) -> TensorSpec:
        name = f"{own.key}/{own.graph}/{key}" if own.graph else tensor.name
        return TensorSpec(name, tensor.dtype, _rows(tensor, any_rows=any_rows))

    return Signature(
        inputs=MappingProxyType({key: spec(key, inputs[index]) for key, index in own.inputs.items()}),
        outputs=MappingProxyType({key: spec(key, outputs[index]) for key, index in own.outputs.items()}),
    )


def _calls(own: OwnSignature, made: Signature) -> dict[str, tuple[str, str]]:
    return {spec.tensor: (own.key, key) for key, spec in (*made.inputs.items(), *made.outputs.items())}
