"""The least that a Python gRPC server can do: grpc.aio on uvloop sends the request back: PORT"""

from __future__ import annotations

import sys
from typing import Any

import grpc
import grpc.aio
import uvloop

LARGEST = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


async def echo(request: bytes, _: Any) -> bytes:
    return request


async def serve(port: int) -> None:
    server = grpc.aio.server(options=LARGEST)
    methods = {"Predict": grpc.unary_unary_rpc_method_handler(echo)}
    handler = grpc.method_handlers_generic_handler("tensorflow.serving.PredictionService", methods)
    server.add_generic_rpc_handlers((handler,))
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await server.wait_for_termination()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
