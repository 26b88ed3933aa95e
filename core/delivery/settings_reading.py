"""Reads from our YAML file how a model's traffic is divided: `canary`, `traffic`, `label_traffic`, `mirror`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from core.delivery.plan import NO_DELIVERY, DeliverySettings
from core.delivery.plan_reading import percent, rollout_plan, sticky_header
from core.delivery.split import WHOLE, MirrorSettings
from core.formats.yaml_reading import (
    MISTAKE,
    Reader,
    YamlEntry,
    mapping,
    named_entries,
    section,
    text,
    whole,
)

MOST_VERSIONS: Final = 100
DEFAULTS: Final = "defaults"
"""The section of what all models have in common."""

_LONGEST_NUMBER: Final = 19
_VERSIONS_OF_A_PLAN: Final = 2


def number_in(name: str) -> int | None:
    """Return the version that a text is the number of; None for a label."""
    return int(name) if name.isascii() and name.isdecimal() and len(name) <= _LONGEST_NUMBER else None


def _version(entry: YamlEntry) -> Any:
    """Read a version number, or a label, as text."""
    found = text(entry) if entry.kind == "str" else whole(1)(entry)
    if found is MISTAKE:
        return MISTAKE
    number = number_in(str(found))
    if found == "" or number == 0:
        return entry.mistake("must be a version number or a label")
    return str(found) if number is None else str(number)


def _traffic(entry: YamlEntry) -> Any:
    """Read shares by version number or label; versions are spelled in one way, so that none comes twice."""
    entries = named_entries(entry)
    if entries is None:
        return MISTAKE
    shares: dict[str, int] = {}
    mistakes = len(entry.problems)
    for name, inner in entries.items():
        number = number_in(name)
        version = name if number is None else str(number)
        share = percent()(inner)
        if not name or number == 0:
            inner.mistake("must be a version number or a label")
        elif version in shares:
            inner.mistake(f"is given twice: version {version}")
        elif share is not MISTAKE:
            shares[version] = share
    if len(entry.problems) > mistakes:
        return MISTAKE
    if not 0 < len(shares) <= MOST_VERSIONS:
        return entry.mistake(f"must have shares of 1 to {MOST_VERSIONS} versions")
    total = sum(shares.values())
    return shares if total == WHOLE else entry.mistake(f"must add up to 100 percent; adds up to {total / 100:g}")


_MIRROR: Final[Mapping[str, Reader]] = {"version": _version, "percent": percent(1), "max_in_flight": whole(1, 10_000)}


def _mirror(entry: YamlEntry) -> Any:
    mistakes = len(entry.problems)
    found = section(_MIRROR)(entry)
    if "version" not in found and len(entry.problems) == mistakes:
        entry.mistake("must have a version")
    if len(entry.problems) > mistakes:
        return MISTAKE
    share = found.pop("percent", WHOLE)
    return MirrorSettings(share=share, **found)


SHARED_DELIVERY: Final[Mapping[str, Reader]] = {"canary": rollout_plan, "stickiness": sticky_header}
"""The settings that all models may have in common."""

OWN_DELIVERY: Final[Mapping[str, Reader]] = {"traffic": _traffic, "label_traffic": mapping(_traffic), "mirror": _mirror}
"""Those of one model, because they name its versions."""


def delivery_settings(shared: Mapping[str, Any], given: Mapping[str, Any], entry: YamlEntry | None) -> DeliverySettings:
    """Combine what a model and all models say; what does not fit together is a mistake at the model's entry.

    Fixed traffic or a fixed mirror of a model takes the place of a plan that all models have in common.
    """
    fixes = {"traffic", "mirror"} & given.keys()
    plan, header = given.get("canary", None if fixes else shared.get("canary")) or (None, "")
    sticky = given.get("stickiness", shared.get("stickiness", ""))
    settings = DeliverySettings(
        traffic=given.get("traffic", {}),
        label_traffic=given.get("label_traffic", {}),
        mirror=given.get("mirror"),
        stickiness=header or sticky,
        plan=plan,
    )
    if entry is not None:
        _require_harmony(settings, given, header, entry)
    return settings if settings != DeliverySettings(stickiness=settings.stickiness) else NO_DELIVERY


def _require_harmony(settings: DeliverySettings, given: Mapping[str, Any], header: str, entry: YamlEntry) -> None:
    for name in {"traffic", "mirror"} & given.keys() if given.get("canary") else ():
        entry.at(name).mistake("cannot be combined with canary, whose steps divide the traffic")
    if "stickiness" in given and header and header != given["stickiness"]:
        entry.at("stickiness").mistake("differs from canary.stickiness; set it in only one of the two")
    divides = settings.traffic or settings.label_traffic or settings.plan
    if "stickiness" in given and not divides and entry.field != DEFAULTS:
        entry.at("stickiness").mistake("has no effect without canary, traffic or label_traffic")
    if settings.mirror is not None and settings.mirror.version in _others(settings.traffic):
        entry.at("mirror").at("version").mistake("has a share of the traffic, and cannot get copies of it, too")
    moved = settings.plan.labels if settings.plan is not None else {}
    for label in settings.label_traffic.keys() & moved.keys():
        entry.at("label_traffic").at(label).mistake("is moved by the rollout plan, and cannot have shares of its own")


def _others(traffic: Mapping[str, int]) -> frozenset[str]:
    """Return the versions that get traffic beside the oldest, from which they diverge; of labels, beside the one most.

    Which version a label names is not known here.
    """
    numbers = {name: number for name in traffic if (number := number_in(name)) is not None}
    first = min(numbers, key=lambda name: numbers[name], default="")
    most = max(traffic, key=lambda name: traffic[name], default="")
    spared = {first} if len(numbers) == len(traffic) else {first, most}
    return frozenset(name for name, share in traffic.items() if share and name not in spared)


def problems_beside(
    delivery: DeliverySettings, *, served: frozenset[int] | None, labels: Mapping[str, int], unloads_first: bool
) -> tuple[tuple[str, str], ...]:
    """Return the field and the text of each setting that contradicts the rest of a model.

    `served` are the versions that a policy `specific` lists; None for other policies. `unloads_first` is the loading
    order `resource_preserving`.
    """
    found = [*_plan_contradictions(delivery, served, labels, unloads_first=unloads_first)]
    both = sorted(delivery.label_traffic.keys() & labels.keys())
    found += [("label_traffic", f"label {one} is declared with a version, and cannot have shares, too") for one in both]
    for field, name in _named(delivery):
        number = number_in(name) or labels.get(name)
        if number is None:
            found.append((field, f"{name} is neither a version number nor a declared label"))
        elif served is not None and number not in served:
            found.append((field, f"names version {number}, which the version policy does not serve"))
    return tuple(dict.fromkeys(found))


def _plan_contradictions(
    delivery: DeliverySettings, served: frozenset[int] | None, labels: Mapping[str, int], *, unloads_first: bool
) -> Iterator[tuple[str, str]]:
    if delivery.plan is None:
        return
    if unloads_first:
        yield "canary", "needs two versions at a time, and cannot be combined with the rollout resource_preserving"
    if served is not None and len(served) < _VERSIONS_OF_A_PLAN:
        yield "canary", "needs two versions, and the version policy `specific` lists fewer"
    for label in sorted(delivery.plan.labels.keys() & labels.keys()):
        yield "canary", f"label {label} is declared with a version, and cannot be moved by the plan"


def _named(delivery: DeliverySettings) -> Iterator[tuple[str, str]]:
    """Yield every version and label that has a role, with the field."""
    for name in delivery.traffic:
        yield "traffic", name
    for shares in delivery.label_traffic.values():
        for name in shares:
            yield "label_traffic", name
    if delivery.mirror is not None:
        yield "mirror", delivery.mirror.version
