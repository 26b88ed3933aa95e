"""The gRPC port: door, server, connections, calls, services; and the services on Serve's own proxy.

Belongs here: sockets, deadlines and handlers of gRPC. Does not belong here: frames and headers (`core.http2`),
messages (`core.grpc`), and the way to a version (`deployments.routing`). Knows nothing of REST.
"""
