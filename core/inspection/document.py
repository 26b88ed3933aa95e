"""The document that `inspect --json` prints; its keys are described in docs/operations.md."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from core.inference.dtypes import DataType
from core.inference.signature import Signature, TensorSpec
from core.inspection.graph_facts import GraphFacts
from core.inspection.unrunnable import UnrunnableOperation

MOST_SHOWN_VALUES: Final = 16
"""Values of a default that are shown."""

VARIABLES, ASSETS, GRAPHS = "variables/", "assets/", ("saved_model.pb", "saved_model.pbtxt", "saved_model.cpb")


@dataclass(frozen=True, slots=True)
class WarmUpRecords:
    """The warm-up file of a version: how many records of each kind, and what is wrong with it."""

    kinds: Mapping[str, int] = field(default_factory=dict)
    problem: str = ""


@dataclass(frozen=True, slots=True)
class InspectedVersion:
    """All that was found out of a version; `problems` are what would make it fail, loaded or run.

    `version` is None for a folder whose name is not a number. `sizes` are bytes by path, `notes` what an operator
    should know. `signatures` are those that are served; None where only code would tell them.
    """

    path: str
    model: str
    version: int | None
    platform: str
    sizes: Mapping[str, int]
    signatures: Mapping[str, Signature] | None = None
    graphs: tuple[GraphFacts, ...] = ()
    served_tags: tuple[str, ...] = ()
    unrunnable: tuple[UnrunnableOperation, ...] = ()
    op_packages: tuple[str, ...] = ()
    warm_up: WarmUpRecords | None = None
    hooks: str = ""
    may_loop: bool = False
    is_light: bool = False
    resident_bytes: int = 0
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def inspected_document(one: InspectedVersion) -> dict[str, Any]:
    """Return the document; all of its values are those of JSON."""
    return {
        "path": one.path,
        "model": one.model,
        "version": one.version,
        "platform": one.platform,
        "files": _files(one.sizes),
        "signatures": None if one.signatures is None else {k: _signature(v) for k, v in one.signatures.items()},
        "graphs": [_graph(graph, one.served_tags) for graph in one.graphs],
        "unrunnable_operations": [
            {"operation": op.name, "nodes": op.count, "reason": op.reason} for op in one.unrunnable
        ],
        "op_packages": list(one.op_packages),
        "warm_up": None if one.warm_up is None else _warm_up(one.warm_up),
        "hooks": one.hooks or None,
        "may_loop": one.may_loop,
        "estimate": {"resident_bytes": one.resident_bytes, "is_light": one.is_light},
        "problems": list(one.problems),
        "notes": list(one.notes),
    }


def _files(sizes: Mapping[str, int]) -> dict[str, int]:
    parts = {"graph_bytes": 0, "variables_bytes": 0, "assets_bytes": 0, "other_bytes": 0}
    for path, size in sizes.items():
        parts[_part(path)] += size
    return {"count": len(sizes), "total_bytes": sum(sizes.values()), **parts}


def _part(path: str) -> str:
    if path in GRAPHS:
        return "graph_bytes"
    if path.startswith(VARIABLES):
        return "variables_bytes"
    return "assets_bytes" if path.startswith(ASSETS) else "other_bytes"


def _graph(graph: GraphFacts, served_tags: tuple[str, ...]) -> dict[str, Any]:
    return {
        "tags": list(graph.tags),
        "is_served": graph.tags == served_tags,
        "tensorflow_version": graph.written_by or None,
        "signatures": sorted(graph.signatures),
        "nodes": sum(graph.operations.values()),
        "functions": graph.functions,
        "operations": dict(graph.operations),
        "devices": list(graph.devices),
        "loops": list(graph.loops),
        "assets": list(graph.assets),
    }


def _warm_up(warm_up: WarmUpRecords) -> dict[str, Any]:
    return {
        "records": sum(warm_up.kinds.values()),
        "kinds": dict(warm_up.kinds),
        "problem": warm_up.problem or None,
    }


def _signature(signature: Signature) -> dict[str, Any]:
    inputs = {}
    for name, spec in sorted(signature.inputs.items()):
        inputs[name] = _tensor(spec)
        if name in signature.defaults:
            inputs[name]["default"] = _shown_values(signature.defaults[name])
    return {
        "method": signature.method,
        "inputs": inputs,
        "outputs": {name: _tensor(spec) for name, spec in sorted(signature.outputs.items())},
        "batching": batching_text(signature) or None,
    }


def batching_text(signature: Signature) -> str:
    """Return why requests of a signature are never merged; empty where they may be."""
    fixed = {name: one.shape for name, one in signature.inputs.items() if one.shape and one.shape[0] >= 0}
    scalar = [name for name, one in signature.inputs.items() if one.shape == ()]
    if not signature.inputs:
        return "it has no inputs"
    if scalar:
        return f"input {min(scalar)} has no rows"
    if fixed:
        name = min(fixed)
        return f"input {name} has a first dimension of {fixed[name][0]}"
    return ""


def _tensor(spec: TensorSpec) -> dict[str, Any]:
    written: dict[str, Any] = {
        "dtype": "unknown" if spec.dtype is DataType.INVALID else spec.dtype.label,
        "shape": None if spec.shape is None else list(spec.shape),
        "tensor": spec.tensor,
    }
    return {**written, "composite": spec.composite} if spec.composite else written


def _shown_values(values: np.ndarray) -> Any:
    """Return a default as JSON; of a long one, the first values and their number."""
    flat = values.reshape(-1)
    if flat.size > MOST_SHOWN_VALUES:
        return {"first_values": _shown_values(flat[:MOST_SHOWN_VALUES]), "values": int(flat.size)}
    shown = np.array([_shown(one) for one in flat.tolist()], object).reshape(values.shape)
    return shown.tolist()


def _shown(value: object) -> object:
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        return str(value)
    return value
