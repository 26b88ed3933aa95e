"""A version at work in its replica: direct server, execution, batches, meters, warm-up, request log.

Belongs here: what happens to a call between its frame and its answer. Does not belong here: what a request means
(`core.inference`, `core.rest`, `core.grpc`), and the way to the replica (`deployments.routing`).
"""
