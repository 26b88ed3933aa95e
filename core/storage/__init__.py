"""The contents of stores: listings of versions, completeness, checksums, plans of a fetch, entries of a node's cache.

Belongs here: every rule about directories and objects that can be stated without touching them. Does not belong here:
listing and fetching (`deployments.storage`), and what is done with a version that was found (`core.versions`).
"""
