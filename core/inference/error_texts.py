"""Names and signatures in error texts: sorted lists, and protobuf's text format of the SignatureDef."""

from __future__ import annotations

from collections.abc import Iterable

from google.protobuf import text_format

from core.inference.signature import Signature, TensorSpec
from core.protos import tensor_pb2


def debug_text(signature: Signature) -> str:
    """Print a signature, without its defaults, keys in order."""
    definition = tensor_pb2.SignatureDef(
        inputs={key: _info(spec) for key, spec in signature.inputs.items()},
        outputs={key: _info(spec) for key, spec in signature.outputs.items()},
        method_name=signature.method,
    )
    return text_format.MessageToString(definition)


def _info(spec: TensorSpec) -> tensor_pb2.TensorInfo:
    info = tensor_pb2.TensorInfo(name=spec.tensor, dtype=spec.dtype.wire_name)
    info.tensor_shape.unknown_rank = spec.shape is None
    for size in spec.shape or ():
        info.tensor_shape.dim.add(size=size)
    return info


def listed(names: Iterable[str]) -> str:
    """Print names as `a,b`."""
    return ",".join(sorted(names))


def braced(names: Iterable[str]) -> str:
    """Print names as `{a,b}`."""
    return f"{{{listed(names)}}}"
