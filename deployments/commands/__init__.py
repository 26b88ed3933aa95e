"""The subcommands of `ray_model_server`, one module each.

`table` lists them by import path, so that only the called one is imported. Belongs here: arguments, output and exit
statuses of commands, and their client. Does not belong here: the content of what a command shows or changes
(`core.admin`).
"""
