"""A log collector: a line with time, model, version, method and bytes for each logged request."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from datetime import UTC, datetime

from core.config.model_config import LoggingConfig
from core.protos.prediction_log_pb2 import PredictionLog
from core.recording.collector import LogContext


class CsvLog:
    """Appends to a file of its own for each replica: `filename_prefix` and the replica's name make the file's name."""

    def __init__(self, config: LoggingConfig, context: LogContext) -> None:
        self._context = context
        self._file = open(f"{config.filename_prefix}-{context.replica}.csv", "ab")  # noqa: SIM115

    def encoded(self, record: bytes) -> bytes:
        log = PredictionLog.FromString(record)
        at = datetime.fromtimestamp(log.log_metadata.timestamp_secs, UTC).isoformat()
        method = (log.WhichOneof("log_type") or "").removesuffix("_log")
        line = io.StringIO()
        csv.writer(line).writerow([at, self._context.model, self._context.version, method, len(record)])
        return line.getvalue().encode()

    def collect(self, batch: Sequence[bytes]) -> None:
        self._file.write(b"".join(batch))

    def flush(self) -> bool:
        self._file.flush()
        return True

    def close(self, timeout_s: float) -> None:
        self._file.close()
