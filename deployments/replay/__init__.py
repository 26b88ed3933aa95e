"""`ray_model_server compare`: puts recorded requests to two versions of a running server.

Belongs here: the command, its calls, and writing the report. Does not belong here: reading the file, comparing and
counting, and how the outcome is shown (`core.replay`).
"""
