"""Records as JSON, for `--state_dir` and the Admin service."""

from __future__ import annotations

from typing import Final

from pydantic import TypeAdapter, ValidationError

from core.delivery.rollout_record import RolloutRecord
from core.errors import ConfigError, Problem

_RECORDS: Final = TypeAdapter(RolloutRecord)


def record_to_json(record: RolloutRecord) -> str:
    """Return a record as a JSON object."""
    return _RECORDS.dump_json(record).decode()


def record_of_json(text: str, file: str = "") -> RolloutRecord:
    """Return a record; members that are not known are skipped. Raises ConfigError for what is not a record."""
    try:
        return _RECORDS.validate_json(text)
    except ValidationError as error:
        problems = (Problem(one["msg"], file, None, ".".join(map(str, one["loc"]))) for one in error.errors())
        raise ConfigError(tuple(problems)) from None
