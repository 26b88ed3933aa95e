"""Translates inference requests of the Open Inference Protocol and their answers into Predict messages, for logs.

An answer is read back by the reader of requests: tensors look the same in both directions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from core.errors import InvalidArgument
from core.grpc.model_spec import answer_spec
from core.grpc.written_requests import Target
from core.inference.protobuf_wire import parse_message
from core.inference.signature import ServedModel, TensorSpec
from core.inference.tensor_proto import to_proto
from core.oip.grpc_request import read_grpc_infer
from core.oip.infer_plan import asked_signature
from core.oip.infer_request import InferRequest, InputTensor
from core.oip.json_request import read_infer_request, read_rest_infer
from core.oip.rest_body import RestBody, split_body
from core.protos import oip_pb2, serving_pb2, tensor_pb2
from core.recording.rest_as_grpc import LoggedMessages

_OUTPUTS = b',"outputs":['
"""How the tensors of a JSON answer begin; no text before them has this in it, because its quotes are escaped."""
_AS_INPUTS = b',"inputs":['


def rest_infer_messages(model: ServedModel, body: bytes) -> LoggedMessages:
    """Return PredictRequest and PredictResponse of a forwarded REST body.

    Raises ServingError for a body that cannot be read.
    """
    request = read_rest_infer(model, body)
    return LoggedMessages(_request(model, request), partial(_rest_response, model, asked_signature(request)))


def grpc_infer_messages(model: ServedModel, body: bytes) -> LoggedMessages:
    """Return PredictRequest and PredictResponse of a ModelInferRequest; raises ServingError for a body as above."""
    request = read_grpc_infer(body)
    return LoggedMessages(_request(model, request), partial(_grpc_response, model, asked_signature(request)))


def _request(model: ServedModel, request: InferRequest) -> bytes:
    key = asked_signature(request)
    signature = model.signatures.get(key)
    if signature is None:
        raise InvalidArgument(f"model '{model.name}' has no signature '{key}'")
    message = serving_pb2.PredictRequest(
        model_spec=Target(model.name, signature=key).spec(), output_filter=[one.name for one in request.outputs]
    )
    _fill(message.inputs, request.inputs, signature.inputs)
    return message.SerializeToString()


def _rest_response(model: ServedModel, key: str, answer: bytes) -> bytes:
    body = split_body(answer)
    json = bytes(body.json).replace(_OUTPUTS, _AS_INPUTS, 1)
    return _response(model, key, read_infer_request(RestBody(memoryview(json), body.raw)).inputs)


def _grpc_response(model: ServedModel, key: str, answer: bytes) -> bytes:
    message = parse_message(oip_pb2.ModelInferResponse, answer)
    mirrored = oip_pb2.ModelInferRequest(raw_input_contents=message.raw_output_contents)
    for one in message.outputs:
        mirrored.inputs.add(
            name=one.name,
            datatype=one.datatype,
            shape=one.shape,
            contents=one.contents if one.HasField("contents") else None,
        )
    return _response(model, key, read_grpc_infer(mirrored.SerializeToString()).inputs)


def _response(model: ServedModel, key: str, outputs: Sequence[InputTensor]) -> bytes:
    message = serving_pb2.PredictResponse()
    message.model_spec.MergeFromString(answer_spec(model.name, model.version, key))
    _fill(message.outputs, outputs, model.signatures[key].outputs)
    return message.SerializeToString()


def _fill(
    tensors: Mapping[str, tensor_pb2.TensorProto], sent: Sequence[InputTensor], specs: Mapping[str, TensorSpec]
) -> None:
    """Add arrays in the types of the signature, which tells quantized integers from plain ones."""
    for one in sent:
        spec = specs.get(one.name)
        tensors[one.name].CopyFrom(to_proto(one.array, None if spec is None else spec.dtype, as_content=True))
