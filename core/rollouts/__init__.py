"""The state machine of a rollout: what follows from what the watcher sees, and from what people order.

Belongs here: the phases of a rollout and what may follow on what, the choice of the next canary, the orders of
operators, which versions a rollout holds, and the record as JSON. Pure functions over frozen values, no clock. Does not
belong here: the settings, counts and statistics that it goes by (`core.delivery`), which versions are loaded
(`core.versions`), and whatever is carried out (`deployments.delivery`).
"""
