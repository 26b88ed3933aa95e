"""How a new version earns its traffic: shares of requests, rollout plans, their states, the judgement of a canary.

Belongs here: the settings of traffic, mirror and canary, how a request is assigned to a version, what routers count for
each arm, the sequential test, and the state machine of a rollout. Pure functions over frozen values, no clock. Does not
belong here: which versions are loaded (`core.versions`), the table of routes (`core.routing`), how two answers are
compared (`core.comparison`), and whatever is carried out (`deployments.division`, `deployments.delivery`).
"""
