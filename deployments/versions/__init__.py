"""The watcher's shell: listings, ticks, Serve, and requests to change the list of models.

Belongs here: everything that is asked or done for a decision of `core.versions`; `reconciler` holds the walk of a
tick. Does not belong here: the decisions, and how a store is listed (`deployments.storage`).
"""
