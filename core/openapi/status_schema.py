"""The schema of the status document (JSON Schema); part of the OpenAPI document.

Members may be added in later versions; those that are here stay.
"""

from __future__ import annotations

from typing import Any

from core.routing.server_state import Readiness

Json = dict[str, Any]

TEXT: Json = {"type": "string"}
WHOLE: Json = {"type": "integer", "minimum": 0}
SECONDS: Json = {"type": "number", "minimum": 0, "description": "seconds"}
TRUTH: Json = {"type": "boolean"}
TIME: Json = {"type": "string", "format": "date-time", "description": "UTC"}
VERSION: Json = {"type": "string", "pattern": "^[0-9]+$"}


def _nothing_or(schema: Json) -> Json:
    return {"anyOf": [schema, {"type": "null"}]}


def _list(schema: Json) -> Json:
    return {"type": "array", "items": schema}


def _object(**properties: Json) -> Json:
    return {"type": "object", "properties": properties, "required": list(properties)}


LISTENER = _object(protocol={"enum": ["grpc", "rest"]}, address=TEXT, encrypted=TRUTH)
SERVER = _object(
    version=TEXT,
    started=TIME,
    uptime_s=SECONDS,
    generation=WHOLE,
    ready=TRUTH,
    state={"enum": [one.value for one in Readiness]},
    reasons={**_list(TEXT), "description": "what is missing or wrong, a sentence each; empty when ready"},
    draining=TRUTH,
    warnings=_nothing_or({**_list(TEXT), "description": "what makes this installation slow, a sentence each"}),
    router=_object(name=TEXT, started=TIME),
    listens=_nothing_or(_list(LISTENER)),
)
WATCHER = _object(answers=TRUTH, ticked_s_ago=_nothing_or(SECONDS))
PROBLEM = _object(file=TEXT, line=_nothing_or(WHOLE), field=TEXT, message=TEXT)
CONFIGURATION = _object(
    origin=_nothing_or({"enum": ["files", "request"]}),
    files=_nothing_or(_list(TEXT)),
    problems=_nothing_or(_list(PROBLEM)),
)
"""Null, as addresses and warnings of the server are, for callers who may not see the whole server."""
POLICY: Json = {
    "oneOf": [
        _object(latest=WHOLE),
        _object(all={"const": True}),
        _object(specific=_list(VERSION)),
        _object(extension={**TEXT, "description": "a policy of an installed package"}, arguments={"type": "object"}),
        {"type": "null"},
    ]
}
LABEL = _object(
    name=TEXT,
    version=VERSION,
    pending={**TRUTH, "description": "its version does not answer"},
    meanwhile={**_nothing_or(VERSION), "description": "the version that a pending label goes on naming"},
)
ROLLOUT = _object(
    policy={"enum": ["availability_preserving", "resource_preserving"]},
    in_progress=TRUTH,
    loading=_list(VERSION),
    unloading=_list(VERSION),
)
PER_SECOND: Json = {"type": "number", "minimum": 0, "description": "answers, also errors, in a second"}
LATENCY = _nothing_or(
    {**SECONDS, "description": "seconds in the model server, estimated from buckets; null without good answers"}
)
TRAFFIC = _object(
    requests_per_s=PER_SECOND,
    errors_per_s={**PER_SECOND, "description": "those of them that were errors"},
    p50_s=LATENCY,
    p95_s=LATENCY,
    p99_s=LATENCY,
    window_s={**SECONDS, "description": "the rates above cover the last so many seconds"},
    history_s={**SECONDS, "description": "how far the points below reach back at most"},
    history={
        **_list(
            _object(
                s_ago=SECONDS,
                requests_per_s=PER_SECOND,
                errors_per_s=PER_SECOND,
                p50_s=LATENCY,
                p95_s=LATENCY,
                p99_s=LATENCY,
            )
        ),
        "description": "each point covers the time since the previous one; null where there was no request",
    },
)
VERSION_STATUS = _object(
    version=VERSION,
    state={"enum": ["START", "LOADING", "AVAILABLE", "UNLOADING", "END"]},
    aspired={**TRUTH, "description": "whether the version policy selects it now"},
    since=TIME,
    labels={**_list(TEXT), "description": "labels that name it now"},
    replicas=_nothing_or({**WHOLE, "description": "that run; null while the watcher has not reported"}),
    placement={
        **_nothing_or({"enum": ["own", "hosted"]}),
        "description": "`own` has a Serve deployment, `hosted` is a child of a version host; null before it answers",
    },
    load_s=_nothing_or(SECONDS),
    failed_attempts=WHOLE,
    next_attempt=_nothing_or(TIME),
    error=_nothing_or(_object(code=TEXT, message=TEXT)),
    failing={
        **_nothing_or(_object(code=TEXT, message=TEXT)),
        "description": "the error of every run of a version that is loaded; null for one that answers",
    },
    runs_by={
        **_nothing_or(TEXT),
        "description": "what calls TensorFlow in a run: `compiled`, or `python` alone; null while it is not known",
    },
    traffic={
        **_nothing_or(TRAFFIC),
        "description": "of all replicas, whichever router was asked; null while it is not known",
    },
)
MODEL = _object(
    name=TEXT,
    configured={**TRUTH, "description": "false for a model that was removed, while its versions are still shown"},
    base_path=TEXT,
    version_policy=POLICY,
    labels=_list(LABEL),
    rollout=ROLLOUT,
    limits={
        **_object(
            max_requests_per_second=_nothing_or({"type": "number", "exclusiveMinimum": 0}),
            max_in_flight=_nothing_or({"type": "integer", "minimum": 1}),
        ),
        "description": "of all routers together; null where there is none",
    },
    refused_per_s={
        **_nothing_or({"type": "number", "minimum": 0}),
        "description": "requests refused in a second, for a limit or because the server was full; null as traffic",
    },
    problem={
        **_nothing_or(TEXT),
        "description": "why storage lists nothing to load, or what is wrong with a version there",
    },
    versions={**_list(VERSION_STATUS), "description": "newest first"},
    waiting=_list(_object(version=VERSION, reason=TEXT)),
    ignored=_list(_object(name=TEXT, reason=TEXT)),
)
STATUS = _object(server=SERVER, watcher=WATCHER, configuration=CONFIGURATION, models=_list(MODEL))
