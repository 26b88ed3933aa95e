"""Files of versions: listed at their base path, fetched, and cached on the node.

Belongs here: file systems and object stores, their retries, and the folder of the cache with its locks. Does not
belong here: what a listing means (`core.storage`), and loading a version (`deployments.runtime`).
"""
