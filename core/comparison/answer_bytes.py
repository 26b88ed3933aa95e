"""Whether two answers are equal beside the number of the version, without reading them.

The messages are our own: the version's number is in one field, in front of or behind all tensors. Their length
says what reading them would cost.
"""

from __future__ import annotations

from typing import Final, TypeAlias

from core.inference.protobuf_wire import Memory, top_level_fields
from core.oip.rest_body import LENGTH_BYTES, split_body
from core.routing.transport import Method

Body: TypeAlias = bytes | bytearray

_MODEL_SPEC_BEHIND: Final = {Method.PREDICT: 2, Method.CLASSIFY: 2, Method.REGRESS: 2, Method.SESSION_RUN: 3}
"""Methods with the spec of the model as their last field, which has this number."""
_FIRST_OUTPUT: Final = 5 << 3 | 2
"""The first field of a ModelInferResponse that has nothing of the version; its shape is a part of each output."""
_OUTPUTS: Final = b'"outputs":['
"""Cannot be inside of a text of JSON, where the quotes would be escaped."""
_MOST_FIELDS: Final = 256
_ALL_OF_JSON: Final = frozenset({Method.REST_PREDICT, Method.REST_CLASSIFY, Method.REST_REGRESS})


def json_bytes(method: Method, body: Body) -> int:
    """Return how many bytes of an answer are JSON, which one thread reads while all others of the process wait."""
    if method is Method.OIP_REST_INFER and len(body) >= LENGTH_BYTES:
        return len(split_body(body).json)
    return len(body) if method in _ALL_OF_JSON else 0


def are_equal(method: Method, primary: Body, copy: Body) -> bool:
    """Whether answers are equal; False also where that is not known without reading them."""
    if primary == copy:
        return True
    if len(primary) == 0 or abs(len(primary) - len(copy)) > len(str(2**63)):
        return False
    if method in _MODEL_SPEC_BEHIND:
        key = _MODEL_SPEC_BEHIND[method] << 3 | 2
        return _are_equal(_before_last(primary, key), _before_last(copy, key))
    if method is Method.OIP_INFER:
        return _are_equal(_from_first_output(primary), _from_first_output(copy))
    if method is Method.OIP_REST_INFER:
        return _are_equal(_json_outputs(primary), _json_outputs(copy))
    return False


def _are_equal(one: Body | None, two: Body | None) -> bool:
    return one is not None and one == two


def _before_last(body: Body, key: int) -> Body | None:
    fields = top_level_fields(body, _MOST_FIELDS)
    if not fields or fields[-1][0] != key:
        return None
    return body[: fields[-2][2] if len(fields) > 1 else 0]


def _from_first_output(body: Memory) -> Body | None:
    before = 0
    for key, _, end in top_level_fields(body, _MOST_FIELDS) or ():
        if key == _FIRST_OUTPUT:
            return bytes(body[before:])
        before = end
    return None


def _json_outputs(body: Body) -> Body | None:
    at = body.find(_OUTPUTS)
    return None if at < 0 else body[at:-LENGTH_BYTES]
