"""What a version is made of, whichever platform runs it: the Protocol of platforms, and the choice among them.

Belongs here: what a platform is and does, how a version's files show it, operation libraries that graphs need, the
declarations of models and hooks in Python, and checks of what their code returns. Does not belong here: running
anything (`deployments.platforms`), and the kinds that configurations name (`core.config.extensions`).
"""
