"""The subcommands of `ray_model_server`, one module each.

`table` lists them by import path, so that none is imported before it is asked for. Does not belong here: what a
command shows or changes (`core.admin`).
"""
