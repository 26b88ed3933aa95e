"""Traffic and mirrors that the settings or an order fix, as version numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from core.delivery.plan import DeliverySettings
from core.delivery.rollout_record import RolloutRecord
from core.delivery.split import WHOLE, MirrorOrder, MirrorSettings, Weights
from core.rollouts.sight import ModelSight

_LONGEST_NUMBER: Final = 20


def version_named(text: str, labels: Mapping[str, int]) -> int:
    """Return the version that a text names by its number or a label, 0 for none."""
    is_number = text.isascii() and text.isdecimal() and len(text) < _LONGEST_NUMBER
    return int(text) if is_number else labels.get(text, 0)


def resolved_weights(shares: Iterable[tuple[str, int]], labels: Mapping[str, int]) -> Weights:
    """Return shares by version, the oldest version first: the others diverge from it, whatever their shares are.

    The order must not change with the shares: a key that has a version keeps it while its share rises. Shares of labels
    that name nothing are left out, and those of one version are added up.
    """
    known: dict[int, int] = {}
    for text, share in shares:
        version = version_named(text, labels)
        if version:
            known[version] = known.get(version, 0) + share
    return tuple(sorted(known.items()))


def fixed_weights(record: RolloutRecord, sight: ModelSight, settings: DeliverySettings) -> Weights:
    """Return the shares that are fixed by an order or by the settings; empty where neither fixes any.

    An order counts until the settings change. With a plan, an order alone can fix shares.
    """
    if record.fixed_weights and record.fixed_over == settings.traffic:
        return record.fixed_weights
    return resolved_weights(settings.traffic.items(), sight.labels) if settings.plan is None else ()


def fixed_mirror(record: RolloutRecord, sight: ModelSight, settings: DeliverySettings) -> MirrorOrder | None:
    """Return the mirror that is fixed by an order or by the settings; one without a share ends that of the settings."""
    if record.fixed_mirror is not None and record.mirrored_over == settings.mirror:
        return record.fixed_mirror
    return mirror_to(settings.mirror, sight.labels) if settings.mirror is not None else None


def mirror_to(mirror: MirrorSettings, labels: Mapping[str, int]) -> MirrorOrder | None:
    """Return a mirror with the number of its version; None for a label that names nothing."""
    version = version_named(mirror.version, labels)
    return MirrorOrder(version, mirror.share, mirror.max_in_flight) if version else None


def on_versions(weights: Weights, available: frozenset[int]) -> Weights:
    """Return shares of the available versions only: the first of them takes those of the others.

    Versions without a share are left out; the result is empty where no version is available.
    """
    left = [(version, share) for version, share in weights if version in available]
    if not left:
        return ()
    missing = WHOLE - sum(share for _, share in left)
    first, share = left[0]
    return ((first, share + missing), *((version, share) for version, share in left[1:] if share))


def label_weights(sight: ModelSight, settings: DeliverySettings) -> Mapping[str, Weights]:
    """Return the shares of requests by some labels, as far as versions are available."""
    resolved = {
        label: on_versions(resolved_weights(shares.items(), sight.labels), sight.available)
        for label, shares in settings.label_traffic.items()
    }
    return {label: weights for label, weights in resolved.items() if weights}


def fixed_versions(record: RolloutRecord, sight: ModelSight, settings: DeliverySettings) -> frozenset[int]:
    """Return the versions that fixed traffic, fixed mirrors and shares of labels name."""
    labelled = [resolved_weights(shares.items(), sight.labels) for shares in settings.label_traffic.values()]
    named = {version for weights in (fixed_weights(record, sight, settings), *labelled) for version, _ in weights}
    mirror = fixed_mirror(record, sight, settings)
    return frozenset(named | {mirror.version} if mirror is not None and mirror.share else named)
