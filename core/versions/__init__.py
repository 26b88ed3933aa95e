"""The life of a version: states, records, rollout, and the decisions of one tick of the watcher.

A tick walks through this room in one order: `world` is what was seen; `reconcile.observe` folds it into records,
`reconcile.next_actions` says what to load and unload, `reconcile.apply` and `reconcile.failed` note what became of it;
`core.routing` makes the table of the records and says what may be deleted. Does not belong here: Serve, storage and
clocks (`deployments.versions`).
"""
