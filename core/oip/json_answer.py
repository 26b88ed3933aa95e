"""JSON answers of inference: flat data, raw tensors behind the JSON where they are asked for, and the JSON's length."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import orjson

from core.errors import InvalidArgument
from core.inference.protobuf_wire import Piece
from core.oip.infer_plan import InferAnswer, OutputTensor
from core.oip.raw_tensors import raw_pieces
from core.oip.rest_body import ALL_JSON, footer

_ALL_JSON_FOOTER: Final = footer(ALL_JSON)


def write_json_answer(answer: InferAnswer, *, is_binary_by_default: bool) -> bytes:
    """Compose the body, with its footer; outputs of which the request says nothing are raw if that is the default.

    Raises InvalidArgument for strings that JSON cannot carry.
    """
    raw: list[Piece] = []
    head: dict[str, Any] = {} if answer.id is None else {"id": answer.id}
    # A name from the command line may hold bytes that are not UTF-8.
    head["model_name"] = answer.model_name.encode("utf-8", "replace").decode()
    head["model_version"] = answer.model_version
    head["outputs"] = [
        _output(one, raw, is_binary=is_binary_by_default if one.is_binary is None else one.is_binary)
        for one in answer.outputs
    ]
    json = orjson.dumps(head, option=orjson.OPT_SERIALIZE_NUMPY)
    if not any(map(len, raw)):
        return json + _ALL_JSON_FOOTER
    return b"".join([json, *raw, footer(len(json))])


def _output(one: OutputTensor, raw: list[Piece], *, is_binary: bool) -> dict[str, Any]:
    array = one.array
    described: dict[str, Any] = {"name": one.name, "datatype": one.datatype, "shape": array.shape}
    if not is_binary:
        described["data"] = _data(one.name, array)
        return described
    pieces = raw_pieces(array)
    raw += pieces
    described["parameters"] = {"binary_data_size": sum(map(len, pieces))}
    return described


def _data(name: str, array: np.ndarray) -> np.ndarray | list[str]:
    """Return the values, flat, in a form that orjson writes; it writes NaN and infinities as null."""
    if array.dtype.hasobject:
        return _texts(name, array.ravel().tolist())
    if array.dtype.kind == "V":  # bfloat16, which orjson does not know
        with np.errstate(invalid="ignore"):  # signalling NaNs
            array = array.astype(np.float32)
    return array.ravel()


def _texts(name: str, strings: Sequence[bytes]) -> list[str]:
    try:
        return list(map(bytes.decode, strings))
    except UnicodeDecodeError:
        raise InvalidArgument(
            f"output '{name}' holds bytes that are not UTF-8, which JSON cannot carry; ask for it with 'binary_data'"
        ) from None
