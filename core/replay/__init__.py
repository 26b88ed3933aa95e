"""Recorded requests that are put to two versions: reading them, counting how the answers differ, showing the outcome.

Belongs here: files of requests as calls, the sums of a replay, its document, and that as text and as a page. Does not
belong here: how two answers are compared (`core.comparison`), and sending requests (`deployments.replay`).
"""
