"""The subcommands about how a new version earns its traffic: `rollout`, `traffic` and `mirror`.

Belongs here: arguments, output and exit statuses of these commands. Does not belong here: what all commands share
(`deployments.commands`, whose table lists these, too), the words in which a rollout is shown (`core.admin`), and the
orders themselves (`core.delivery`).
"""
