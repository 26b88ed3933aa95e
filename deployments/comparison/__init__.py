"""Copies of requests as a model server answers them: beside its calls, and compared with the answers that callers got.

Belongs here: when a copy has its turn. Does not belong here: how answers are compared (`core.comparison`), and how a
version answers (`deployments.inference`).
"""
