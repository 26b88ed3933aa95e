"""A call's way through the router: resolve, connections, handles, and the log and trace of it.

Belongs here: what both protocols of the router share. Does not belong here: ports and bodies (`deployments.rest`,
`deployments.grpc`), and anything about how a model is run (`deployments.inference`).
"""
