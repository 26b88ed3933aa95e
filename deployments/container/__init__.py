"""What a container or a service unit leaves this process: CPUs, folders for temporary files.

Belongs here: looks at limits of the machine, and what is done where something usual is missing. Does not belong here:
the rules (`core.container`), and disks of models (`deployments.storage`).
"""
