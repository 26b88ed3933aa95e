"""Records as JSON, for `--state_dir` and the Admin service."""

from __future__ import annotations

from core.delivery.rollout_record import RolloutRecord


def record_to_json(record: RolloutRecord) -> str:
    """Return a record as a JSON object."""
    raise NotImplementedError


def record_of_json(text: str, file: str = "") -> RolloutRecord:
    """Return a record; members that are not known are skipped. Raises ConfigError for what is not a record."""
    raise NotImplementedError
