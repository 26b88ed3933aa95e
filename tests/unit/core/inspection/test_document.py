"""The document of an inspection, and its text."""

from __future__ import annotations

import json

import numpy as np
import pytest

from core.inference.dtypes import DataType
from core.inference.signature import Signature, TensorSpec
from core.inspection.document import InspectedVersion, WarmUpRecords, batching_text, inspected_document
from core.inspection.graph_facts import GraphFacts
from core.inspection.text import inspection_text, size_text
from core.inspection.unrunnable import UnrunnableOperation


def spec(shape: tuple[int, ...] | None, dtype: DataType = DataType.FLOAT, composite: str = "") -> TensorSpec:
    return TensorSpec("x:0", dtype, shape, composite)


SIGNATURE = Signature(
    {"x": spec((-1, 2)), "k": spec((), DataType.INT32)},
    {"y": spec(None, DataType.STRING), "s": spec(None, composite="sparse")},
    defaults={"k": np.array(3, np.int32)},
)
GRAPH = GraphFacts(("serve",), {"s": SIGNATURE}, {"Add": 3, "While": 1}, 2, ("/device:GPU:0",), ("a.txt",), "2.9.1")
INSPECTED = InspectedVersion(
    "/m/r/7",
    "r",
    7,
    "tensorflow",
    {"saved_model.pb": 10, "variables/variables.index": 20, "assets/a.txt": 1, "readme": 2},
    signatures={"s": SIGNATURE, "__saved_model_init_op": Signature({}, {"o": spec(None, DataType.INVALID)})},
    graphs=(GRAPH,),
    served_tags=("serve",),
    unrunnable=(UnrunnableOperation("Mine", 2, "why"),),
    op_packages=("tensorflow-text",),
    warm_up=WarmUpRecords({"predict": 2}),
    hooks="assets.extra/hooks.py",
    may_loop=True,
    resident_bytes=3000,
    problems=("bad",),
    notes=("mind",),
)


def test_the_document_is_json() -> None:
    """With what scripts ask for under fixed names."""
    document = json.loads(json.dumps(inspected_document(INSPECTED), allow_nan=False))

    assert document["files"] == {
        "count": 4,
        "total_bytes": 33,
        "graph_bytes": 10,
        "variables_bytes": 20,
        "assets_bytes": 1,
        "other_bytes": 2,
    }
    assert document["signatures"]["s"]["inputs"] == {
        "k": {"dtype": "int32", "shape": [], "tensor": "x:0", "default": 3},
        "x": {"dtype": "float", "shape": [-1, 2], "tensor": "x:0"},
    }
    assert document["signatures"]["s"]["outputs"]["s"]["composite"] == "sparse"
    assert document["graphs"][0]["operations"] == {"Add": 3, "While": 1}
    assert (document["graphs"][0]["nodes"], document["graphs"][0]["is_served"]) == (4, True)
    assert document["graphs"][0]["loops"] == ["While"]
    assert document["unrunnable_operations"] == [{"operation": "Mine", "nodes": 2, "reason": "why"}]
    assert document["warm_up"] == {"records": 2, "kinds": {"predict": 2}, "problem": None}


def test_a_version_of_which_little_is_known_has_the_same_keys() -> None:
    """They are null or empty."""
    document = inspected_document(InspectedVersion("/m", "m", None, "python", {}))

    assert document.keys() == inspected_document(INSPECTED).keys()
    assert (document["signatures"], document["warm_up"], document["hooks"], document["graphs"]) == (
        None,
        None,
        None,
        [],
    )
    assert "m (python): /m" in inspection_text(document)


def test_the_text_shows_what_people_look_for() -> None:
    """Problems first; TensorFlow's initializer among the signatures is left out."""
    assert inspection_text(inspected_document(INSPECTED)).splitlines() == [
        "r version 7 (tensorflow): /m/r/7",
        "PROBLEM: bad",
        "note: mind",
        "files: 4 with 33 B (graph 10 B, variables 20 B, assets 1 B, other 2 B)",
        "memory of a replica: about 2.9 KiB beside its process",
        "signature s (tensorflow/serving/predict)",
        "  input  k: int32 [] (x:0), default 3",
        "  input  x: float [?, 2] (x:0)",
        "  output s: float any shape, sparse (x:0)",
        "  output y: string any shape (x:0)",
        "  batching: requests run one by one, because input k has no rows",
        "graph with tags serve: 4 nodes, 2 functions, written by TensorFlow 2.9.1",
        "  operations: Add 3, While 1",
        "  devices: /device:GPU:0",
        "  loops: While",
        "  assets: a.txt",
        "cannot run Mine (2 nodes): why",
        "libraries of operations: tensorflow-text",
        "warm-up: 2 records (2 predict)",
        "hooks: assets.extra/hooks.py",
    ]


@pytest.mark.parametrize(
    ("inputs", "reason"),
    [
        ({"x": spec((-1, 2))}, ""),
        ({"x": spec(None)}, ""),
        ({"x": spec((4, 2))}, "input x has a first dimension of 4"),
        ({"x": spec((-1,)), "k": spec(())}, "input k has no rows"),
        ({}, "it has no inputs"),
    ],
)
def test_batching_needs_rows(inputs: dict[str, TensorSpec], reason: str) -> None:
    """Else requests run one by one, and the reason says why."""
    assert batching_text(Signature(inputs, {"y": spec(None)})) == reason


@pytest.mark.parametrize(
    ("default", "shown"),
    [
        (np.array([b"a\xff"], object), ["a\\xff"]),
        (np.array([np.nan, 1.5], np.float32), ["nan", 1.5]),
        (np.array(1 + 2j), "(1+2j)"),
        (np.zeros((2, 1), np.int64), [[0], [0]]),
        (np.arange(100), {"first_values": list(range(16)), "values": 100}),
    ],
)
def test_defaults_are_shown_as_json(default: np.ndarray, shown: object) -> None:
    """Whatever they hold; of many the first."""
    signature = Signature({"x": spec(None)}, {}, defaults={"x": default})
    document = inspected_document(InspectedVersion("/m", "m", None, "tensorflow", {}, signatures={"s": signature}))

    assert json.loads(json.dumps(document, allow_nan=False))["signatures"]["s"]["inputs"]["x"]["default"] == shown


@pytest.mark.parametrize(("size", "text"), [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (5 * 2**40, "5.0 TiB")])
def test_sizes_have_the_unit_that_fits(size: int, text: str) -> None:
    """As people read them."""
    assert size_text(size) == text
