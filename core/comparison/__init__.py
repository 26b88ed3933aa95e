"""How two versions' answers to one request, or their signatures, differ.

Belongs here: reading an answer of either protocol as tensors, distances of tensors, reports of pairs, the documents of
`compare`. Does not belong here: which requests are copied (`deployments.division`), and what follows from a difference
(`core.delivery`).
"""
