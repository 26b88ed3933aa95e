"""What the console script does around the server: Ray, first loads, terminal, drain.

Belongs here: everything before the first answer and after the last one. Does not belong here: subcommands
(`deployments.commands`), and the server's own life (`deployments.router`, `deployments.watcher`).
"""
