"""Tensors, signatures, runs and batches, whichever protocol a request came over.

Belongs here: dtypes, tensors on the wire, checks against signatures, plans of runs and of batches, classification and
regression. Does not belong here: JSON and REST (`core.json`, `core.rest`), gRPC's messages (`core.grpc`), and running
anything (`deployments.inference`, `deployments.runtime`).
"""
