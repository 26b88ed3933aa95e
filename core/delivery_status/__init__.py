"""What is shown and counted of rollouts: the document of each, and its metrics.

Belongs here: the numbers of both arms for people, the rollout's part of the status document, and the metrics that
follow from routing tables. Does not belong here: how a canary is judged (`core.delivery`), the state machine
(`core.rollouts`), and texts and pages made of the document (`core.admin`, `core.pages`).
"""
