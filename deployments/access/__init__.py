"""Lets callers in or refuses them: the access file as it is followed, peers of connections, slow hashes in a thread.

Belongs here: what all doors share of guarding. Does not belong here: errors in a protocol's shape, and which method is
in which group. May use: config and what lies below it. Used by: rest, grpc, oip, router.
"""
