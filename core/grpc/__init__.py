"""gRPC bodies: the requested model, the planned run and the encoded answer; and the Python client's messages.

Belongs here: everything that reads or writes messages of TensorFlow Serving's services. Does not belong here: frames
and headers (`core.http2`), ports and servers (`deployments.grpc`). Knows nothing of REST.
"""
