"""Which version answers a request, and the values of a call on its way to it.

Belongs here: routing tables and how they are made of records, labels, what routers report, calls and answers, frames
of the direct transport, the load of replicas, who is let in and who may wait. Does not belong here: connections and
handles (`deployments.routing`), and how a version computes its answer (`core.inference`).
"""
