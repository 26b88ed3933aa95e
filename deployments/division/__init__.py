"""What a router does to divide requests among versions: it counts for each arm, and sends copies to be compared.

Belongs here: keys of sticky requests, counters of arms, copies and their bounds. Does not belong here: the rules
(`core.delivery`), and how a call reaches a replica (`deployments.routing`).
"""
