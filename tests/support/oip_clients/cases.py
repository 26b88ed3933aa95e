"""What every client asks of the same models; for programs in environments that may have nothing but Python."""

from __future__ import annotations

import json
import math
import struct
from dataclasses import asdict, dataclass
from typing import Any

PLUS = "half_plus_two"
"""y = x / 2 + 2, for a tensor of any shape."""

EVERY_TYPE = "all_dtypes"
"""One signature for each type, which answers its input `x` as `y`."""

SEVERAL = "several"
"""Three inputs, and three outputs: echo, product and sum."""

MATRIX = "matrix"
"""Takes [-1, 3] as `x`, and answers [-1, 2]."""

VERSIONS = "oip_versions"
"""Version 1 (y = x / 2 + 1, the label stable) beside version 2 (y = x / 2 + 2, the label canary)."""

DEFAULTS = "oip_defaults"
"""y = scale * x, where `scale` is 2 if it is left out."""

LOADED = "oip_loaded"
"""A model that the clients may unload and load."""

NEVER_READY = "oip_never_ready"
"""A model whose only version cannot be loaded."""

SCALAR = "two_variables"
"""y = 6 x for a scalar."""

TOTAL = "scalar_output"
"""The sum of a vector, which is a scalar."""

UNKNOWN = "nobody"
LARGE_BYTES = 64 * 1024 * 1024
SHAPE = [3, 2]


@dataclass(frozen=True)
class TypeCase:
    """Six values of one type, as every protocol has them."""

    signature: str
    datatype: str
    values: list[Any]
    raw: bytes
    """Row by row, little endian."""

    field: str
    """The field of the typed contents; empty where there is none."""


def _numbers(signature: str, datatype: str, code: str, values: list[Any], field: str) -> TypeCase:
    return TypeCase(signature, datatype, values, struct.pack(f"<6{code}", *values), field)


def raw_bytes(values: list[bytes]) -> bytes:
    """Write elements of BYTES as a raw tensor."""
    return b"".join(struct.pack("<I", len(one)) + one for one in values)


def _bfloat16(values: list[float]) -> TypeCase:
    raw = b"".join(struct.pack("<f", one)[2:] for one in values)
    return TypeCase("bfloat16", "BF16", list(values), raw, "")


WORDS = ["", "a", "päß 三", "a\0b", "end\0", "x" * 40]
TYPES = (
    _numbers("bool", "BOOL", "?", [True, False, True, True, False, False], "bool_contents"),
    _numbers("int8", "INT8", "b", [-128, -1, 0, 1, 5, 127], "int_contents"),
    _numbers("int16", "INT16", "h", [-32768, -1, 0, 1, 5, 32767], "int_contents"),
    _numbers("int32", "INT32", "i", [-(2**31), -1, 0, 1, 5, 2**31 - 1], "int_contents"),
    _numbers("int64", "INT64", "q", [-(2**63), -1, 0, 1, 2**53 + 1, 2**63 - 1], "int64_contents"),
    _numbers("uint8", "UINT8", "B", [0, 1, 2, 3, 128, 255], "uint_contents"),
    _numbers("uint16", "UINT16", "H", [0, 1, 2, 3, 32768, 65535], "uint_contents"),
    _numbers("uint32", "UINT32", "I", [0, 1, 2, 3, 2**31, 2**32 - 1], "uint_contents"),
    _numbers("uint64", "UINT64", "Q", [0, 1, 2, 3, 2**53 + 1, 2**64 - 1], "uint64_contents"),
    _numbers("float32", "FP32", "f", [-1.5, 0.0, 0.25, 3.0, 65536.0, 2.0**24], "fp32_contents"),
    _numbers("float64", "FP64", "d", [-1.5, 0.0, 0.1, 1 / 3, 65536.0, 1e300], "fp64_contents"),
    TypeCase("string", "BYTES", WORDS, raw_bytes([one.encode() for one in WORDS]), "bytes_contents"),
)
HALF = _numbers("float16", "FP16", "e", [-1.5, 0.0, 0.25, 3.0, 1024.0, 65504.0], "")
BRAIN = _bfloat16([-1.5, 0.0, 0.25, 3.0, 1024.0, 2.0**20])
OCTETS = [b"", b"\0", b"\xff\xfe", b"a\0b\0", "三".encode(), bytes(range(256))]
"""Six elements of BYTES, some of which are not UTF-8."""

ROWS = [((at * 37) % 101) / 64 - 0.75 for at in range(4 * 32)]
"""Four rows of features, which floats have exactly."""

COMPARED = {
    "mlp": ("features", [4, 32], ROWS),
    "half_plus_two": ("x", [128], ROWS),
    "matrix": ("x", [2, 3], ROWS[:6]),
    "scalar_output": ("x", [128], ROWS),
}
"""Models whose answers clients of both protocols compare: an FP32 input, its shape and its values."""

ODD_FLOATS = [math.nan, math.inf, -math.inf, 0.0, -0.0, 1.0]


def as_json() -> str:
    """Write the cases for clients that are not in Python; large integers stay exact in their raw form only."""

    def described(case: TypeCase) -> dict[str, Any]:
        return asdict(case) | {"raw": case.raw.hex()}

    models = {
        "every_type": EVERY_TYPE,
        "matrix": MATRIX,
        "never_ready": NEVER_READY,
        "plus": PLUS,
        "several": SEVERAL,
        "unknown": UNKNOWN,
        "versions": VERSIONS,
    }
    return json.dumps(
        {
            "types": [described(one) for one in TYPES],
            "half": described(HALF),
            "brain": described(BRAIN),
            "shape": SHAPE,
            "large_bytes": LARGE_BYTES,
            "models": models,
        }
    )
