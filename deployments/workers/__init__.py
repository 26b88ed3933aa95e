"""Workers of Ray that wait for the next version, which then starts without waiting for a process.

Belongs here: who asks for them, and what they do until they are taken. Does not belong here: when a node lacks one
(`core.versions.spare_workers`), and what a version does in its process (`deployments.model_server`).
"""
