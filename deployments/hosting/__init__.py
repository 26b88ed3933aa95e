"""Hosted versions: one host application a node, whose process without threads forks a child for each light version.

Belongs here: the host's Serve deployment, the process that forks, the children, and what they say to each other. Does
not belong here: what a version does once it is loaded (`deployments.inference`), which versions are hosted
(`core.versions`), and the watcher's side of it (`deployments.versions`).
"""
