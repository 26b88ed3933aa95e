"""Records as JSON, for `--state_dir` and the Admin service."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from core.delivery.rollout_record import RolloutPhase, RolloutRecord
from core.delivery.split import WHOLE
from core.errors import ConfigError, Problem

_RECORDS: Final = TypeAdapter(RolloutRecord)
_WITHOUT_CANARY: Final = frozenset({RolloutPhase.IDLE, RolloutPhase.PROMOTED})


def record_to_json(record: RolloutRecord) -> str:
    """Return a record as a JSON object; infinity is a text, and what is not Unicode in texts becomes `?`."""
    members = _spelled(_RECORDS.dump_python(record, mode="json"))
    return json.dumps(members, ensure_ascii=False).encode("utf-8", "replace").decode()


def _spelled(value: Any) -> Any:
    """Return a value with texts for the numbers that JSON cannot say."""
    if isinstance(value, dict):
        return {name: _spelled(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_spelled(one) for one in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def record_of_json(text: str, file: str = "") -> RolloutRecord:
    """Return a record; members that are not known are skipped, and those that are missing have their defaults.

    Raises ConfigError for what is not a record, or not one that can go on.
    """
    try:
        record = _RECORDS.validate_python(json.loads(text))
    except ValidationError as error:
        problems = (Problem(one["msg"], file, None, ".".join(map(str, one["loc"]))) for one in error.errors())
        raise ConfigError(tuple(problems)) from None
    except (ValueError, RecursionError) as error:
        raise ConfigError((Problem(f"not valid JSON: {error}", file),)) from None
    found = tuple(Problem(message, file, None, field) for field, message in _contradictions(record))
    if found:
        raise ConfigError(found)
    return record


def _contradictions(record: RolloutRecord) -> Iterator[tuple[str, str]]:
    """Yield field and text of what would lead nowhere: the state machine relies on the rest."""
    if record.phase is not RolloutPhase.IDLE:
        yield from _gaps(record)
    if (record.canary > 0) == (record.phase in _WITHOUT_CANARY):
        yield "canary", f"does not fit to phase {record.phase.value}; was {record.canary}"
    for name in ("baked_s", "lasted_s", "window_s", "lost_s"):
        if not 0 <= getattr(record, name) < math.inf:
            yield name, "must be a time in seconds"
    division = record.division
    for weights in () if division is None else (division.weights, *division.labels.values()):
        shares = [share for _, share in weights]
        if not shares or min(shares) < 0 or sum(shares) != WHOLE:
            yield "division", f"must have shares that add up to {WHOLE}"


def _gaps(record: RolloutRecord) -> Iterator[tuple[str, str]]:
    """Yield what is missing of a rollout that runs."""
    steps = record.plan.steps if record.plan is not None else ()
    if not steps:
        yield "plan", f"is missing: a rollout in phase {record.phase.value} follows one"
    elif not 0 <= record.step < len(steps):
        yield "step", f"must be one of the {len(steps)} steps of the plan; was {record.step}"
    if record.stable <= 0:
        yield "stable", f"must be a version in phase {record.phase.value}"
    if record.phase is RolloutPhase.PROMOTED and record.previous <= 0:
        yield "previous", "must be a version while the rollback window is open"
