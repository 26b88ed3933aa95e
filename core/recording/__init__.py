"""Recorded requests: request logs, and the warm-up files made of them.

Belongs here: sampling, the form and names of log files, reading and choosing warm-up requests. Does not belong here:
writing files and replaying requests (`deployments.inference`). The highest room: it reads bodies of all protocols.
"""
