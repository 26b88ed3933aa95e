"""Reads what the graphs of a SavedModel say of themselves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from google.protobuf.message import DecodeError

from core.errors import DataLoss
from core.inference.light_model import LOOPS
from core.inference.signature import Signature, signature
from core.protos import saved_model_pb2, tensor_pb2

_Described = saved_model_pb2.DescribedModel


@dataclass(frozen=True, slots=True)
class GraphFacts:
    """One graph of a SavedModel.

    `operations` counts the nodes of each operation, those of functions included; `devices` are those that nodes are
    pinned to, and `written_by` is the release of TensorFlow that wrote it.
    """

    tags: tuple[str, ...]
    signatures: Mapping[str, Signature]
    operations: Mapping[str, int]
    functions: int
    devices: tuple[str, ...]
    assets: tuple[str, ...]
    written_by: str

    @property
    def loops(self) -> tuple[str, ...]:
        """The operations that repeat others as often as values say."""
        return tuple(sorted(one for one in self.operations if LOOPS.search(one)))


def graph_facts(content: bytes, file: str) -> tuple[GraphFacts, ...]:
    """Read `saved_model.pb`; raises DataLoss for a file that is not one, as half of it is."""
    try:
        described = _Described.FromString(content)
        signed = tensor_pb2.SavedModel.FromString(content)
    except DecodeError:
        text = f"{file} ({len(content):,} bytes) is not a SavedModel: its content cannot be parsed"
        raise DataLoss(f"{text}; it is damaged, or was not copied whole") from None
    if not described.meta_graphs:
        raise DataLoss(f"{file} ({len(content):,} bytes) has no graph; it is damaged, or was not copied whole")
    return tuple(
        _facts(graph, definitions.signature_def)
        for graph, definitions in zip(described.meta_graphs, signed.meta_graphs, strict=True)
    )


def _facts(graph: _Described.MetaGraphDef, definitions: Mapping[str, tensor_pb2.SignatureDef]) -> GraphFacts:
    functions = {one.signature.name for one in graph.graph_def.library.function}
    operations: Counter[str] = Counter()
    devices: set[str] = set()
    for node in _nodes(graph):
        # A node may name a function of its own graph instead of an operation.
        if node.op not in functions:
            operations[node.op] += 1
        devices.add(node.device)
    return GraphFacts(
        tags=tuple(sorted(graph.meta_info_def.tags)),
        signatures={key: signature(one) for key, one in sorted(definitions.items())},
        operations=dict(sorted(operations.items())),
        functions=len(functions),
        devices=tuple(sorted(devices - {""})),
        assets=tuple(sorted(one.filename for one in graph.asset_file_def)),
        written_by=graph.meta_info_def.tensorflow_version,
    )


def _nodes(graph: _Described.MetaGraphDef) -> Iterator[_Described.NodeDef]:
    yield from graph.graph_def.node
    for function in graph.graph_def.library.function:
        yield from function.node_def
