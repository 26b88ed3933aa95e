"""REST: paths, bodies, answers, and the pages beside the API.

Belongs here: which path asks for what, what a body must hold, how errors look over HTTP, OpenAPI. Does not belong
here: how JSON becomes arrays (`core.json`), and sockets and ASGI (`deployments.rest`). Knows nothing of gRPC.
"""
