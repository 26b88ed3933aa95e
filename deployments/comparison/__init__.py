"""What a model server does for comparisons: it answers copies beside its calls, and counts the values of outputs.

Belongs here: when a copy has its turn, and which values are counted. Does not belong here: how answers are compared
(`core.comparison`), what bins prove (`core.evidence`), and how a version answers (`deployments.inference`).
"""
