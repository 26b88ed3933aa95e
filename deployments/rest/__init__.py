"""The REST port: door, protocols, API, and the pages beside it.

Belongs here: HTTP connections, ASGI, limits of bodies, end points for people and for Prometheus. Does not belong here:
the meaning of paths and bodies (`core.rest`), and the way to a version (`deployments.routing`). Knows nothing of gRPC.
"""
