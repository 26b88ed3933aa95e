"""What an operator sees of a running server, and changes in it.

Belongs here: the status document and its forms, reloads and changes of the list of models, messages about rollouts and
profiles. Does not belong here: carrying any of it out (`deployments.versions`, `deployments.commands`) and the JSON of
requests (`core.json`).
"""
