"""Orders that fix traffic and mirrors while no rollout runs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from core.delivery.plan import DeliverySettings
from core.delivery.rollout_record import RolloutRecord
from core.delivery.split import WHOLE, MirrorOrder, MirrorSettings
from core.errors import FailedPrecondition, InvalidArgument
from core.rollouts.candidates import is_rejected
from core.rollouts.fixed_traffic import fixed_mirror, fixed_weights, resolved_weights, version_named
from core.rollouts.sight import ModelSight
from core.rollouts.turns import told

MOST_SHARES: Final = 100
"""Versions that one order may name."""


def ordered_traffic(
    record: RolloutRecord,
    shares: tuple[tuple[str, int], ...],
    sight: ModelSight,
    settings: DeliverySettings,
    *,
    by: str,
    forced: bool,
) -> RolloutRecord:
    """Return the record with other fixed shares, or without any that were ordered.

    Raises InvalidArgument for shares that cannot be, and FailedPrecondition for a rejected version unless it is forced.
    """
    if not shares:
        if not record.fixed_weights:
            return record
        after = replace(record, fixed_weights=(), fixed_over={})
        return told(after, sight, "traffic_changed", 0, f"the order that fixed the traffic was ended by {by}")
    _require_whole(shares)
    for text, _ in shares:
        _require_known(text, sight)
    weights = resolved_weights(shares, sight.labels)
    if len(weights) < len(shares):
        raise InvalidArgument("Two of the shares are of the same version.")
    rejected = [version for version, _ in weights if is_rejected(record, version, sight)]
    if rejected and not forced:
        why = record.rejected[rejected[0]].reason
        raise FailedPrecondition(f"Version {rejected[0]} was rejected: {why}; --force gives it traffic all the same.")
    _require_one_role(weights, fixed_mirror(record, sight, settings))
    left = {version: why for version, why in record.rejected.items() if version not in rejected}
    if weights == record.fixed_weights and settings.traffic == record.fixed_over and not rejected:
        return record
    after = replace(record, fixed_weights=weights, fixed_over=dict(settings.traffic), rejected=left)
    listed = ", ".join(f"version {version} {share / 100:g} %" for version, share in weights)
    return told(after, sight, "traffic_changed", weights[0][0], f"{listed}, ordered by {by}")


def ordered_mirror(
    record: RolloutRecord, mirror: MirrorSettings | None, sight: ModelSight, settings: DeliverySettings, *, by: str
) -> RolloutRecord:
    """Return the record with another mirror, or without one; raises InvalidArgument for one that cannot be."""
    if mirror is None or not mirror.share:
        present = fixed_mirror(record, sight, settings)
        if present is None or not present.share:
            return record
        # a mirror of the settings is ended by an order without a share, until the settings change
        ended = None if settings.mirror is None else replace(present, share=0)
        after = replace(record, fixed_mirror=ended, mirrored_over=settings.mirror)
        return told(after, sight, "mirror_changed", present.version, f"copies were ended by {by}")
    if not 0 < mirror.share <= WHOLE or mirror.max_in_flight < 1:
        raise InvalidArgument("A mirror copies more than 0 and at most 100 % of requests, with at least one in flight.")
    _require_known(mirror.version, sight)
    version = version_named(mirror.version, sight.labels)
    wanted = MirrorOrder(version, mirror.share, mirror.max_in_flight)
    _require_one_role(fixed_weights(record, sight, settings), wanted)
    if wanted == record.fixed_mirror and settings.mirror == record.mirrored_over:
        return record
    after = replace(record, fixed_mirror=wanted, mirrored_over=settings.mirror)
    text = f"copies of {mirror.share / 100:g} % of requests go to version {version}, ordered by {by}"
    return told(after, sight, "mirror_changed", version, text)


def _require_whole(shares: tuple[tuple[str, int], ...]) -> None:
    if len(shares) > MOST_SHARES:
        raise InvalidArgument(f"Traffic is divided among at most {MOST_SHARES} versions.")
    if any(share < 0 for _, share in shares) or sum(share for _, share in shares) != WHOLE:
        total = sum(share for _, share in shares) / 100
        raise InvalidArgument(f"The shares must add up to 100 % and none be below 0; they add up to {total:g} %.")


def _require_known(text: str, sight: ModelSight) -> None:
    version = version_named(text, sight.labels)
    if not version:
        raise InvalidArgument(f"{text!r} is neither a version number nor a label of {sight.model}.")
    if version not in sight.available and version not in sight.stored:
        raise InvalidArgument(f"Version {version} of {sight.model} neither runs nor is complete on storage.")


def _require_one_role(weights: Iterable[tuple[int, int]], mirror: MirrorOrder | None) -> None:
    """Refuse copies to a version that has a share of its own; those of the first one show how much noise there is."""
    others = [version for version, share in weights if share][1:]
    if mirror is not None and mirror.share and mirror.version in others:
        raise InvalidArgument(f"Version {mirror.version} cannot get both a share of the traffic and copies of it.")
