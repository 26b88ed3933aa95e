"""JSON answers of inference: flat data, raw tensors behind the JSON where they are asked for, and the JSON's length."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import orjson

from core.errors import InvalidArgument
from core.inference.protobuf_wire import Piece
from core.json.strings import quote, raw_bytes
from core.oip.infer_plan import InferAnswer, OutputTensor
from core.oip.raw_tensors import raw_pieces
from core.oip.rest_body import ALL_JSON, footer


@dataclass(frozen=True, slots=True)
class JsonWriter:
    """Writes answers; `is_binary_by_default`: outputs of which the request says nothing are raw."""

    is_binary_by_default: bool = False

    def write(self, answer: InferAnswer) -> bytes:
        """Compose the body, with its footer."""
        raw: list[Piece] = []
        outputs = [self._output(one, raw) for one in answer.outputs]
        identity = b"" if answer.id is None else b'"id":%b,' % _text(answer.id)
        json = b'{%b"model_name":%b,"model_version":"%b","outputs":[%b]}' % (
            identity,
            _text(answer.model_name),
            answer.model_version.encode(),
            b",".join(outputs),
        )
        return b"".join([json, *raw, footer(len(json) if any(map(len, raw)) else ALL_JSON)])

    def _output(self, one: OutputTensor, raw: list[Piece]) -> bytes:
        is_binary = self.is_binary_by_default if one.is_binary is None else one.is_binary
        head = b'{"name":%b,"datatype":"%b","shape":[%b],' % (
            _text(one.name),
            one.datatype.encode(),
            b",".join(b"%d" % size for size in one.array.shape),
        )
        if not is_binary:
            return b'%b"data":%b}' % (head, _data(one))
        pieces = raw_pieces(one.array)
        raw += pieces
        return b'%b"parameters":{"binary_data_size":%d}}' % (head, sum(map(len, pieces)))


def _text(text: str) -> bytes:
    return quote(raw_bytes(text))


def _data(one: OutputTensor) -> bytes:
    """Write the values, flat; NaN and infinities become null, as JSON has no words for them."""
    array = one.array
    if array.dtype.hasobject:
        return orjson.dumps(_strings(one.name, array.ravel().tolist()))
    if array.dtype.kind == "V":  # bfloat16, which orjson does not know
        array = array.astype(np.float32)
    return orjson.dumps(np.ascontiguousarray(array).reshape(-1), option=orjson.OPT_SERIALIZE_NUMPY)


def _strings(name: str, strings: Sequence[bytes]) -> list[str]:
    try:
        return list(map(bytes.decode, strings))
    except UnicodeDecodeError:
        raise InvalidArgument(
            f"output '{name}' holds bytes that are not UTF-8, which JSON cannot carry; ask for it with 'binary_data'"
        ) from None
