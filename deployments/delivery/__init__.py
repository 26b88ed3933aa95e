"""What the watcher does for rollouts: collects what routers counted, keeps records, asks gates, tells others.

Belongs here: the state folder, the windows of counts, signatures of running versions, gates, notices, logs. Does not
belong here: the rules (`core.delivery`), and the tick that loads and unloads (`deployments.versions`).
"""
