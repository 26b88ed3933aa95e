"""The typed declarations of Python code: what becomes a signature, and what is refused with which text."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from core.errors import InvalidArgument
from core.inference.dtypes import DataType
from core.inference.signature import PREDICT_METHOD, TensorSpec, signature, signature_def_map
from core.platforms.declared_signature import declared_signature
from core.protos import serving_pb2

TYPES = [
    ("float32", DataType.FLOAT),
    (np.float32, DataType.FLOAT),
    (np.dtype(">f4"), DataType.FLOAT),
    ("double", DataType.DOUBLE),
    (float, DataType.DOUBLE),
    (int, DataType.INT64),
    (bool, DataType.BOOL),
    ("half", DataType.HALF),
    ("bfloat16", DataType.BFLOAT16),
    (ml_dtypes.bfloat16, DataType.BFLOAT16),
    ("DT_INT8", DataType.INT8),
    ("qint8", DataType.QINT8),
    (DataType.UINT16, DataType.UINT16),
    ("string", DataType.STRING),
    (bytes, DataType.STRING),
    (str, DataType.STRING),
    (np.dtype("S5"), DataType.STRING),
    (np.object_, DataType.STRING),
]


@pytest.mark.parametrize(("declared", "expected"), TYPES)
def test_types_are_written_as_numpy_or_tensorflow_write_them(declared: object, expected: DataType) -> None:
    """Texts, classes and dtypes mean the same; without a shape the rank is open."""
    read = declared_signature({"x": declared}, {"y": (declared, [2, None])}, "m.py")

    assert read.inputs == {"x": TensorSpec("x", expected, None)}
    assert read.outputs == {"y": TensorSpec("y", expected, (2, -1))}
    assert read.method == PREDICT_METHOD


@pytest.mark.parametrize(
    ("declared", "expected"),
    [((None, 4), (-1, 4)), ((), ()), ([-1, np.int64(3)], (-1, 3)), (None, None), ((0,), (0,))],
)
def test_none_and_minus_one_are_sizes_that_may_vary(declared: object, expected: object) -> None:
    """A shape may be a tuple or a list; None instead of it leaves the rank open."""
    assert declared_signature({"x": ("int32", declared)}, {"y": "int32"}, "m.py").inputs["x"].shape == expected


@pytest.mark.parametrize(
    "declared",
    [
        *(
            "float33",
            "float",
            "",
            "object",
            "a",
            "f4",
            "void",
            dict,
            None,
            3,
            object(),
            "variant",
            "datetime64[s]",
            DataType.RESOURCE,
            np.longdouble,
        ),
        *({}, ("float32",), ("float32", (1,), 2), (), [("a", "float32"), ("b", "int8")]),
        *(("float32", 4), ("float32", "12"), ("float32", b"12"), ("float32", {1, 2}), ("float32", (1,) * 65)),
        *(("float32", (-2,)), ("float32", (1.0,)), ("float32", (True,)), ("float32", ("4",)), ("float32", (2**63,))),
        *(("float", (1,)), (None, (1,))),
    ],
)
def test_a_declaration_that_means_nothing_is_refused_by_name(declared: object) -> None:
    """The text names the place, the input and what was declared."""
    with pytest.raises(InvalidArgument, match=r'^/m/1/model\.py: input "x" is declared as ') as refused:
        declared_signature({"x": declared}, {"y": "float32"}, "/m/1/model.py")

    assert repr(declared) in str(refused.value)


@pytest.mark.parametrize("declared", [None, [], "x", [("x", "float32")], {}])
def test_outputs_must_be_a_mapping_with_a_name(declared: object) -> None:
    """Neither a missing declaration nor an empty one leaves anything to ask for."""
    with pytest.raises(InvalidArgument, match=r"^m\.py.* outputs"):
        declared_signature({"x": "float32"}, declared, "m.py")


@pytest.mark.parametrize("name", ["", 3, b"x", None, "\udcff"])
def test_names_are_texts_that_a_request_can_hold(name: object) -> None:
    """What protobuf and JSON cannot carry would fail in every request."""
    with pytest.raises(InvalidArgument, match=r"^m\.py: the name .* of an input"):
        declared_signature({name: "float32"}, {"y": "float32"}, "m.py")


def test_metadata_shows_what_was_declared() -> None:
    """The serialized map reads back as the same signatures, unknown ranks and sizes included."""
    declared = declared_signature({"x": ("float32", (None, 4)), "t": "string"}, {"y": ("int64", ())}, "m.py")

    shown = serving_pb2.SignatureDefMap.FromString(signature_def_map({"serving_default": declared, "b": declared}))

    assert {key: signature(one) for key, one in shown.signature_def.items()} == {
        "serving_default": declared,
        "b": declared,
    }
