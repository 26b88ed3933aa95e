"""Who may do what: groups of methods, the access file, credentials, and the decision about a caller.

Belongs here: everything that decides from values whether a caller may do something, and what it may see. Does not
belong here: which path or method is in which group (each protocol's own room says that), the peer of a connection, and
threads. May use: errors, formats, routing and what lies below it. Used by: admin, rest, grpc, oip.
"""
