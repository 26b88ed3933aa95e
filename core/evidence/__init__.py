"""Sequential tests: what counts of two arms prove, however often one looks.

Belongs here: running likelihood ratios of events in two arms and of a proportion against a limit, and bins of values
with the distance of two distributions. Plain numbers go in and come out. Does not belong here: which events count, the
error budget of a rollout, and verdicts (`core.delivery`).
"""
