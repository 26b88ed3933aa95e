"""Replays a version's warm-up requests on the way of ordinary calls, before the version is available.

Any failure is a failed load, and names the record and the file. There is no time limit, as in TensorFlow Serving; a
load that is not wanted any more ends with its process.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path

from core.errors import Code, RuntimeFailure, ServingError, Unavailable
from core.recording.warmup_file import FILE, replayed_calls
from core.routing.transport import Answer, Call
from core.telemetry.metric_names import WARMUP_LATENCY, WARMUP_RECORDS_READ, WARMUP_SECONDS
from core.versions.servable import ServableId
from deployments.telemetry.process_metrics import METRICS

log = logging.getLogger(__name__)

OK = "OK"
MICROS_PER_S = 1e6


def warm_up(servable: ServableId, version_path: str, answer: Callable[[Call], Answer], iterations: int = 1) -> None:
    """Replay the requests in a version's folder, if it has any, each `iterations` times; raises ServingError."""
    began_s = time.perf_counter()
    try:
        count = _replay(Path(version_path) / FILE, answer, iterations)
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise Unavailable(f"The warm-up requests cannot be read: {error}") from error
    took_s = time.perf_counter() - began_s
    METRICS.observe(WARMUP_LATENCY, version_path, OK, value=took_s * MICROS_PER_S)
    METRICS.count(WARMUP_RECORDS_READ, version_path, OK, by=count)
    METRICS.observe(WARMUP_SECONDS, servable.name, value=took_s)
    log.info("warmed_up servable=%s records=%d took_s=%.3f", servable, count, took_s)


def _replay(file: Path, answer: Callable[[Call], Answer], iterations: int) -> int:
    """Return the number of records; raises RuntimeFailure, which names the record that failed."""
    count = 0
    with file.open("rb") as stream:
        try:
            for call in replayed_calls(stream, str(file)):
                if call is not None:
                    _answer(call, answer, iterations)
                count += 1
        except ServingError as error:
            raise RuntimeFailure(error.code, f"{error} (warm-up record {count + 1} of {file})") from error
    return count


def _answer(call: Call, answer: Callable[[Call], Answer], iterations: int) -> None:
    for _ in range(iterations):
        given = answer(call)
        if given.code is not Code.OK:
            raise RuntimeFailure(given.code, given.text)
