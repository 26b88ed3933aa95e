"""A version at work in its replica: direct server, execution, batches, meters, warm-up.

Belongs here: everything between the frame of a call and its answer, and how a version is put together. Does not belong
here: the meaning of a request (`core.inference`, `core.rest`, `core.grpc`, `core.oip`), and the way to the replica
(`deployments.routing`).
"""
