"""The console script around the server: start of Ray, first loads, terminal, drain.

Belongs here: everything before the first request and after the last one. Does not belong here: subcommands
(`deployments.commands`), and the server's own life (`deployments.router`, `deployments.watcher`).
"""
