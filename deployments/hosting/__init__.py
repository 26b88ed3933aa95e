"""Hosted versions: one host application a node, whose process without threads forks a child for each light version.

Belongs here: the host's Serve deployment, the process that forks, the children, what they say to each other, and the
watcher's account of all hosts. Does not belong here: what a version does once it is loaded (`deployments.inference`),
which versions are hosted (`core.versions`), and Serve's applications (`deployments.versions`).
"""
