"""Tells an operator's tools what happens to rollouts: a CloudEvents message by POST. Bounded, and never in the way."""

from __future__ import annotations

import json
import logging
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any, Final

from core.delivery.rollout_record import Happening
from core.telemetry.log_lines import iso_time
from core.telemetry.redaction import without_secrets
from deployments.delivery.web_calls import web_answer
from deployments.system.daemon_threads import DaemonThreads

log = logging.getLogger(__name__)

MOST_WAITING = 100
"""Notices that wait to be sent; further ones are dropped, because their receiver does not keep up."""

ATTEMPTS = 3
PAUSE_S = 2.0
SENDERS = 2
TYPE: Final = "ray_model_server"
HEADERS: Final = {"Content-Type": "application/cloudevents+json; charset=utf-8"}


def cloud_event(model: str, happening: Happening, more: Mapping[str, Any]) -> dict[str, Any]:
    """Return a happening as a CloudEvents 1.0 message in structured mode."""
    return {
        "specversion": "1.0",
        "id": uuid.uuid4().hex,
        "source": f"/ray_model_server/models/{model}",
        "type": f"{TYPE}.{happening.name}",
        "time": iso_time(happening.at_s),
        "subject": f"{model}:{happening.version}",
        "datacontenttype": "application/json",
        "data": {"model": model, "version": happening.version, "text": happening.text, **more},
    }


class Notices:
    """Sends notices in threads of their own."""

    def __init__(
        self,
        send: Callable[[str, bytes, Mapping[str, str]], str] = web_answer,
        pause: Callable[[float], object] = time.sleep,
    ) -> None:
        self._send = send
        self._pause = pause
        self._threads = DaemonThreads("sends notices", SENDERS)
        self._lock = threading.Lock()
        self._waiting = 0

    def tell(self, url: str, model: str, happening: Happening, more: Mapping[str, Any]) -> bool:
        """Queue a notice and return at once; whether there was room for it."""
        with self._lock:
            if self._waiting >= MOST_WAITING:
                log.warning("rollout_notice_dropped model=%s event=%s", model, happening.name)
                return False
            self._waiting += 1
        body = json.dumps(cloud_event(model, happening, more)).encode()
        self._threads.submit(lambda: self._deliver(url, model, happening.name, body))
        return True

    def _deliver(self, url: str, model: str, name: str, body: bytes) -> None:
        try:
            for attempt in range(ATTEMPTS):
                if attempt:
                    self._pause(PAUSE_S)
                answer = self._send(url, body, HEADERS)
                if answer.startswith("2"):
                    return
            log.warning("rollout_notice_lost model=%s event=%s url=%s answer=%s", model, name, _shown(url), answer)
        finally:
            with self._lock:
                self._waiting -= 1


def _shown(url: str) -> str:
    return without_secrets(url)
