"""Records of the request log as CloudEvents, under the names that KServe's logger has.

A request and its answer are two events with the same id and different types. Their data are the members `request` and
`response` of a line of JSON (`core.recording.json_line`), whichever protocol the request came in.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

import orjson

from core.config.model_config import LoggingConfig
from core.events.http_messages import EventLine
from core.events.settings import LoggedParts
from core.recording.collector import LogContext
from core.recording.json_line import shown_exchange
from core.routing.transport import Headers

REQUEST_TYPE: Final = "org.kubeflow.serving.inference.request"
RESPONSE_TYPE: Final = "org.kubeflow.serving.inference.response"


def _new_id() -> str:
    return str(uuid.uuid4())


@dataclass(frozen=True, slots=True)
class EventWriter:
    """Makes the events of one request log."""

    config: LoggingConfig
    context: LogContext
    new_id: Callable[[], str] = _new_id

    def lines(self, record: bytes, headers: Headers = ()) -> list[EventLine]:
        """Return the events of a serialized PredictionLog; raises InvalidArgument for one that cannot be shown.

        Headers of its request are the attribute `metadata`: a JSON object of lists of values by name.
        """
        shown = shown_exchange(record)
        wanted = self.config.events.log
        about = self._attributes(shown.about, shown.method)
        if headers:
            about["metadata"] = _as_json(headers)
        lines: list[EventLine] = []
        if wanted is not LoggedParts.RESPONSE:
            lines.append(EventLine.of({**about, "type": REQUEST_TYPE}, orjson.dumps(shown.request)))
        if wanted is not LoggedParts.REQUEST:
            lines.append(EventLine.of({**about, "type": RESPONSE_TYPE}, orjson.dumps(shown.response)))
        return lines

    def _attributes(self, about: dict[str, Any], method: str) -> dict[str, str]:
        """Return the attributes (CloudEvents 1.0) that both events share; extensions without a value are left out."""
        events, context = self.config.events, self.context
        extensions = {
            "inferenceservicename": events.inference_service or context.model,
            "namespace": events.namespace,
            "component": events.component,
            "endpoint": events.endpoint,
            "modelversion": str(context.version),
            "signature": about["signature"],
            "method": method,
        }
        return {
            "specversion": "1.0",
            "id": self.new_id(),
            "source": f"/v1/models/{quote(context.model, safe='')}/versions/{context.version}",
            "time": about["time"],
            "datacontenttype": "application/json",
            **{name: value for name, value in extensions.items() if value},
        }


def _as_json(headers: Headers) -> str:
    values: dict[str, list[str]] = {}
    for name, value in headers:
        values.setdefault(name, []).append(value)
    return orjson.dumps(values).decode()
