"""Calls for our own gRPC port, as frames, and what comes back."""

from __future__ import annotations

from core.grpc.model_spec import peek
from core.http2.frames import DATA, END_HEADERS, END_STREAM, HEADERS, frame
from core.protos import serving_pb2
from tests.support.doors.grpc_sites import GrpcSite
from tests.support.doors.raw_http2 import PREDICT, CallAnswer, RawHttp2, head_block

WATCH = "/grpc.health.v1.Health/Watch"
REFLECT = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
GZIP = (b"grpc-encoding", b"gzip")


def predict_body(name: str = "m", **spec: object) -> bytes:
    request = serving_pb2.PredictRequest(model_spec={"name": name, **spec})
    request.output_filter.append("x")
    return request.SerializeToString()


BODY = predict_body()
assert peek(BODY).name == "m"


def asked(site: GrpcSite, content: bytes) -> CallAnswer:
    """Send the frames of one call and wait for its answer."""
    with RawHttp2(site.port) as client:
        client.send(content)
        return client.answer(1)


def opened(*more: tuple[bytes, bytes], path: str = PREDICT) -> bytes:
    return frame(HEADERS, END_HEADERS, 1, head_block(path, *more))


def whole(data: bytes, *more: tuple[bytes, bytes], path: str = PREDICT) -> bytes:
    """Return a call whose body is these bytes."""
    return opened(*more, path=path) + frame(DATA, END_STREAM, 1, data)
