"""Configuration files: reading them, checking them, and the list of models in force.

Belongs here: everything that opens a file of the operator. Does not belong here: the meaning of its text
(`core.config`), and files of models (`deployments.storage`).
"""
