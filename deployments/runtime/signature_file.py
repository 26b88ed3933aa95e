"""Reads the signatures of a SavedModel without TensorFlow, its operations, and whether its model is a light one."""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType

from google.protobuf.message import DecodeError

from core.errors import InvalidArgument, NotFound
from core.inference.light_model import LARGEST_LIGHT_BYTES, has_loops, is_light, operations_in
from core.inference.signature import ServedModel, signature
from core.protos import tensor_pb2

FILE = "saved_model.pb"

LARGEST_READ_GRAPH = 64 * 1024 * 1024
"""Bytes of a graph whose operations are read; weights that are constants of the graph make larger ones."""


def declared_model(version: Path, tags: frozenset[str]) -> ServedModel:
    """Read the signatures of a version's folder; raises NotFound and InvalidArgument."""
    file = version / FILE
    try:
        content = file.read_bytes()
    except OSError as error:
        raise NotFound(f"{file} cannot be read: {error.strerror}") from error
    try:
        graphs = tensor_pb2.SavedModel.FromString(content).meta_graphs
    except DecodeError:
        raise InvalidArgument(f"{file} is not a SavedModel") from None
    chosen = next((graph for graph in graphs if frozenset(graph.meta_info_def.tags) == tags), None)
    if chosen is None:
        found = " or ".join(sorted(",".join(sorted(graph.meta_info_def.tags)) for graph in graphs))
        raise NotFound(f"{file} has no graph with the tags {','.join(sorted(tags))}, but with {found}")
    number = version.name
    return ServedModel(
        name=version.parent.name,
        version=int(number) if number.isascii() and number.isdecimal() else 0,
        signatures=MappingProxyType({key: signature(one) for key, one in chosen.signature_def.items()}),
    )


def is_light_version(version: Path) -> bool:
    """Whether a version is too small to be worth several threads; False where its files cannot say."""
    try:
        weights_bytes = sum(one.stat().st_size for one in (version / "variables").glob("*"))
        if weights_bytes + (version / FILE).stat().st_size > LARGEST_LIGHT_BYTES:
            return False
        return is_light((version / FILE).read_bytes(), weights_bytes)
    except OSError:
        return False


def graph_operations(version: Path) -> frozenset[str]:
    """Return the operations that the graphs of a version use; none where its file cannot say."""
    file = version / FILE
    try:
        if file.stat().st_size > LARGEST_READ_GRAPH:
            return frozenset()
        return frozenset(operations_in(tensor_pb2.SavedModelOperations.FromString(file.read_bytes())))
    except (OSError, DecodeError):
        return frozenset()


def may_loop(version: Path) -> bool:
    """Whether the graphs of a version have loops, or are too large to be read for that: their runs are never short."""
    try:
        return (version / FILE).stat().st_size > LARGEST_READ_GRAPH or has_loops(graph_operations(version))
    except OSError:
        return True
