"""gRPC bodies: which model is asked, what is to be run, and what is answered; and the Python client's messages.

Belongs here: everything that reads or writes messages of TensorFlow Serving's services. Does not belong here: frames
and headers (`core.http2`), ports and servers (`deployments.grpc`). Knows nothing of REST.
"""
