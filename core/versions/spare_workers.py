"""When a node is asked for a spare worker: an idle process of Ray that the next version can take at once."""

from __future__ import annotations

from dataclasses import dataclass

RENEW_AFTER_S = 5.0
"""Pause after the last load began: until then the machine is busy, and the spare worker may still be waiting."""

LOOK_EVERY_S = 60.0
"""Pause between two looks at the nodes: there may be new ones, and Ray may have taken or ended a spare worker."""

SHORT_LOOK_S = 15.0
"""The same while a node lacks one: time for a process to start and to be seen."""

LONGEST_PAUSE_S = 3600.0
"""The longest pause before a node is asked again whose spare workers disappear, as they do while memory is short."""

KEEP_ALIVE_S = 2 * LONGEST_PAUSE_S
"""How long Ray keeps a spare worker that nobody takes; it outlives a server that left a shared cluster no longer."""


@dataclass(frozen=True, slots=True)
class NodeSpares:
    """What is known of a node: when it was asked last, and how often although no version had taken the worker."""

    asked_s: float = float("-inf")
    in_vain: int = 0


UNASKED = NodeSpares()
"""A node that has not been asked."""


def to_ask(known: NodeSpares, idle: int, wanted: int, now_s: float, loaded_s: float) -> tuple[NodeSpares, int]:
    """Return how many workers to ask a node for that has some idle ones, and what is known then.

    `loaded_s` is when the last load began, which took a worker. One that disappeared although nothing was loaded is
    asked for again after ever longer pauses.
    """
    if idle >= wanted:
        return known, 0
    if loaded_s > known.asked_s or known == UNASKED:
        return NodeSpares(now_s), wanted - idle
    in_vain = known.in_vain + 1
    if now_s < known.asked_s + min(SHORT_LOOK_S * 2**in_vain, LONGEST_PAUSE_S):
        return known, 0
    return NodeSpares(now_s, in_vain), wanted - idle


def next_look_s(now_s: float, loaded_s: float, *, is_short: bool) -> float:
    """Return the seconds until the next look at the nodes, of which one lacks a spare worker (`is_short`) or none."""
    after_load_s = loaded_s + RENEW_AFTER_S - now_s
    if after_load_s > 0.0:
        return after_load_s
    return SHORT_LOOK_S if is_short else LOOK_EVERY_S
