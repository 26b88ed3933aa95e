"""SessionRun: feed and fetch any tensor of the graph by its own name, or by its name in a signature."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from core.errors import FailedPrecondition, InvalidArgument, ServingError, Unimplemented
from core.grpc.model_spec import answer_spec
from core.inference.protobuf_wire import Piece, length_delimited, parse_message, prefixed, tag
from core.inference.run_plan import RunPlan
from core.inference.signature import DEFAULT_SIGNATURE, ServedModel, Signature, TensorSpec
from core.inference.tensor_proto import to_array, wire_pieces
from core.protos import serving_pb2, tensor_pb2

_TENSOR_TAG: Final = tag(1)
_NAME_TAG: Final = tag(1)
_VALUE_TAG: Final = tag(2)
_MODEL_SPEC_TAG: Final = tag(3)


def plan_session_run(model: ServedModel, body: bytes) -> RunPlan:
    """Plan a serialized SessionRunRequest; the answer lists the tensors in the order of `fetch`."""
    request = parse_message(serving_pb2.SessionRunRequest, body)
    if not request.HasField("model_spec"):
        raise InvalidArgument("Missing ModelSpec")
    if request.target:
        raise Unimplemented("SessionRun does not run target nodes; fetch a tensor instead.")
    signature = _signature(model, request) if request.tensor_name_is_alias else None
    feeds = _feeds(request, signature.inputs if signature else None)
    wanted = [(name, _tensor(name, signature.outputs if signature else None)) for name in request.fetch]
    fetches = tuple(dict.fromkeys(tensor for _, tensor in wanted))
    model_spec = answer_spec(model.name, model.version, request.model_spec.signature_name)

    def encode(arrays: Sequence[np.ndarray]) -> bytes:
        if len(arrays) != len(fetches):
            raise ServingError("SessionRun internal error")
        fetched = dict(zip(fetches, arrays, strict=True))
        return _response([(name, fetched[tensor]) for name, tensor in wanted], model_spec)

    return RunPlan(feeds, fetches, encode)


def _signature(model: ServedModel, request: serving_pb2.SessionRunRequest) -> Signature:
    key = request.model_spec.signature_name or DEFAULT_SIGNATURE
    signature = model.signatures.get(key)
    if signature is None:
        raise FailedPrecondition(f'Serving signature key "{key}" not found.')
    return signature


def _tensor(name: str, aliases: Mapping[str, TensorSpec] | None) -> str:
    """Translate a name; without aliases it is the graph's own."""
    if aliases is None:
        return name
    if name not in aliases:
        raise InvalidArgument(f"tensor alias not found in signature: {name}")
    return aliases[name].tensor


def _feeds(request: serving_pb2.SessionRunRequest, aliases: Mapping[str, TensorSpec] | None) -> dict[str, np.ndarray]:
    feeds: dict[str, np.ndarray] = {}
    for feed in request.feed:
        tensor = _tensor(feed.name, aliases)
        if tensor in feeds:
            raise InvalidArgument(f"tensor fed more than once: {feed.name}")
        feeds[tensor] = _decoded(feed)
    return feeds


def _decoded(feed: tensor_pb2.NamedTensorProto) -> np.ndarray:
    try:
        return to_array(feed.tensor)
    except InvalidArgument:
        raise InvalidArgument(f"tensor parsing error: {feed.name}") from None


def _response(tensors: Sequence[tuple[str, np.ndarray]], model_spec: bytes) -> bytes:
    pieces: list[Piece] = []
    for name, array in tensors:
        named = [length_delimited(_NAME_TAG, name.encode()), *prefixed(_VALUE_TAG, wire_pieces(array))]
        pieces += prefixed(_TENSOR_TAG, named)
    pieces.append(length_delimited(_MODEL_SPEC_TAG, model_spec))
    return b"".join(pieces)
