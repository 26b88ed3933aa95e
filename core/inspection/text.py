"""The document of an inspection as text, for people."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from core.admin.status_text import printable

MOST_OPERATIONS: Final = 12
"""Operations of a graph that are named; the document has all."""

INITIALIZER: Final = "__saved_model_init_op"
"""What TensorFlow exports among the signatures to initialize a model; nobody calls it."""

_UNITS: Final = ("B", "KiB", "MiB", "GiB", "TiB")
_KIB: Final = 1024


def inspection_text(document: Mapping[str, Any]) -> str:
    """Return the lines, each with its line feed; names out of files hold nothing that a terminal would interpret."""
    return "".join(f"{printable(line)}\n" for line in _lines(document))


def _lines(document: Mapping[str, Any]) -> Iterator[str]:
    version = "" if document["version"] is None else f" version {document['version']}"
    yield f"{document['model']}{version} ({document['platform']}): {document['path']}"
    yield from (f"PROBLEM: {one}" for one in document["problems"])
    yield from (f"note: {one}" for one in document["notes"])
    yield from _size_lines(document)
    yield from _signature_lines(document["signatures"])
    for graph in document["graphs"]:
        yield from _graph_lines(graph)
    yield from _extra_lines(document)


def size_text(size: float) -> str:
    """Return a size in the unit that fits."""
    unit = 0
    while size >= _KIB and unit < len(_UNITS) - 1:
        size, unit = size / _KIB, unit + 1
    return f"{size:.0f} {_UNITS[unit]}" if unit == 0 else f"{size:.1f} {_UNITS[unit]}"


def _size_lines(document: Mapping[str, Any]) -> Iterator[str]:
    files = document["files"]
    parts = ("graph", "variables", "assets", "other")
    shown = ", ".join(f"{part} {size_text(files[f'{part}_bytes'])}" for part in parts if files[f"{part}_bytes"])
    yield f"files: {files['count']} with {size_text(files['total_bytes'])}" + (f" ({shown})" if shown else "")
    estimate = document["estimate"]
    light = "; light: its runs are too short to gain from several threads" if estimate["is_light"] else ""
    yield f"memory of a replica: about {size_text(estimate['resident_bytes'])} beside its process{light}"


def _signature_lines(signatures: Mapping[str, Any] | None) -> Iterator[str]:
    if signatures is None:
        return
    for name, signature in signatures.items():
        if name == INITIALIZER:
            continue
        yield f"signature {name} ({signature['method'] or 'no method'})"
        for kind in ("inputs", "outputs"):
            for alias, tensor in signature[kind].items():
                yield f"  {kind.removesuffix('s'):6} {alias}: {_tensor(tensor)}"
        if signature["batching"]:
            yield f"  batching: requests run one by one, because {signature['batching']}"
    if not signatures.keys() - {INITIALIZER}:
        yield "no signature"


def _tensor(tensor: Mapping[str, Any]) -> str:
    shape = "any shape" if tensor["shape"] is None else str([None if one < 0 else one for one in tensor["shape"]])
    shape = shape.replace("None", "?")
    default = f", default {json.dumps(tensor['default'])}" if "default" in tensor else ""
    composite = f", {tensor['composite']}" if "composite" in tensor else ""
    return f"{tensor['dtype']} {shape}{composite} ({tensor['tensor'] or 'no tensor'}){default}"


def _graph_lines(graph: Mapping[str, Any]) -> Iterator[str]:
    tags = ",".join(graph["tags"]) or "none"
    by = f", written by TensorFlow {graph['tensorflow_version']}" if graph["tensorflow_version"] else ""
    served = "" if graph["is_served"] else ", not served"
    yield f"graph with tags {tags}: {graph['nodes']} nodes, {graph['functions']} functions{by}{served}"
    common = sorted(graph["operations"].items(), key=lambda item: (-item[1], item[0]))
    shown = ", ".join(f"{name} {count}" for name, count in common[:MOST_OPERATIONS])
    more = len(common) - MOST_OPERATIONS
    yield f"  operations: {shown}" + (f" and {more} others" if more > 0 else "")
    for key in ("devices", "loops", "assets"):
        if graph[key]:
            yield f"  {key}: {', '.join(graph[key])}"


def _extra_lines(document: Mapping[str, Any]) -> Iterator[str]:
    for one in document["unrunnable_operations"]:
        yield f"cannot run {one['operation']} ({one['nodes']} nodes): {one['reason']}"
    if document["op_packages"]:
        yield f"libraries of operations: {', '.join(document['op_packages'])}"
    warm_up = document["warm_up"]
    if warm_up is None:
        yield "warm-up: none"
    else:
        kinds = ", ".join(f"{count} {kind}" for kind, count in warm_up["kinds"].items())
        yield f"warm-up: {warm_up['records']} records" + (f" ({kinds})" if kinds else "")
    if document["hooks"]:
        yield f"hooks: {document['hooks']}"
