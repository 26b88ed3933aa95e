"""Events for an HTTP sink: how a request log sends them, what is wrong with such settings, and when to send again.

Belongs here: what holds for any event. Does not belong here: what an event says of a request (`core.recording`), and
sending it (`deployments.recording`).
"""
