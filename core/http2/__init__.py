"""HTTP/2 and gRPC's framing without sockets: bytes in, calls out, bytes to send.

Belongs here: frames, header blocks, flow control, message prefixes and the limits of a connection. Does not belong
here: what a call means (`core.grpc`), and sockets, tasks and timers (`deployments.grpc`). Uses only the errors.
"""
