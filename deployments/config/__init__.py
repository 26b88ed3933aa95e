"""Configuration files: read, checked, in force.

Belongs here: whatever opens a file that an operator wrote. Does not belong here: what its text means (`core.config`),
and files of models (`deployments.storage`).
"""
