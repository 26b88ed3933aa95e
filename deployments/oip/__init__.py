"""The Open Inference Protocol on both ports: its REST API, its gRPC service, and the extensions of both.

Belongs here: what the routers do for version 2 of the protocol, on the doors of `deployments.rest` and
`deployments.grpc`. Does not belong here: bodies, messages and paths (`core.oip`), and the way to a version
(`deployments.routing`), which both protocols share.
"""
