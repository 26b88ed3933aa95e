"""What a container or a service unit leaves a server of the machine below it.

Belongs here: rules about limits of CPUs, memory and folders, over numbers that were measured. Does not belong here:
measuring them (`deployments.container`). Uses nothing of this project.
"""
