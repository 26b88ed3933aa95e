"""Finds and reads the files of a version that nobody serves, and asks the runtime in a process of its own what it has.

Does not belong here: what the files mean and how that is shown (`core.inspection`), and fetching versions that are to
be served (`deployments.storage`).
"""
