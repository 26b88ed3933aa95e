"""The schema of the status document (JSON Schema); part of the OpenAPI document.

Members may be added in later versions; those that are here stay.
"""

from __future__ import annotations

from core.openapi.delivery_schema import DELIVERY
from core.openapi.schema_parts import (
    SECONDS,
    TEXT,
    TIME,
    TRUTH,
    VERSION,
    WHOLE,
    Json,
    list_schema,
    nullable,
    object_with,
)
from core.routing.server_state import Readiness

LISTENER = object_with(protocol={"enum": ["grpc", "rest"]}, address=TEXT, encrypted=TRUTH)
SERVER = object_with(
    version=TEXT,
    started=TIME,
    uptime_s=SECONDS,
    generation=WHOLE,
    ready=TRUTH,
    state={"enum": [one.value for one in Readiness]},
    reasons={**list_schema(TEXT), "description": "what is missing or wrong, a sentence each; empty when ready"},
    draining=TRUTH,
    warnings=nullable({**list_schema(TEXT), "description": "what makes this installation slow, a sentence each"}),
    router=object_with(name=TEXT, started=TIME),
    listens=nullable(list_schema(LISTENER)),
)
WATCHER = object_with(answers=TRUTH, ticked_s_ago=nullable(SECONDS))
PROBLEM = object_with(file=TEXT, line=nullable(WHOLE), field=TEXT, message=TEXT)
CONFIGURATION = object_with(
    origin=nullable({"enum": ["files", "request"]}),
    files=nullable(list_schema(TEXT)),
    problems=nullable(list_schema(PROBLEM)),
)
"""Null, as addresses and warnings of the server are, for callers who may not see the whole server."""
POLICY: Json = {
    "oneOf": [
        object_with(latest=WHOLE),
        object_with(all={"const": True}),
        object_with(specific=list_schema(VERSION)),
        object_with(
            extension={**TEXT, "description": "a policy of an installed package"}, arguments={"type": "object"}
        ),
        {"type": "null"},
    ]
}
LABEL = object_with(
    name=TEXT,
    version=VERSION,
    pending={**TRUTH, "description": "its version does not answer"},
    meanwhile={**nullable(VERSION), "description": "the version that a pending label goes on naming"},
)
ROLLOUT = object_with(
    policy={"enum": ["availability_preserving", "resource_preserving"]},
    in_progress=TRUTH,
    loading=list_schema(VERSION),
    unloading=list_schema(VERSION),
)
PER_SECOND: Json = {"type": "number", "minimum": 0, "description": "answers, also errors, in a second"}
LATENCY = nullable(
    {**SECONDS, "description": "seconds in the model server, estimated from buckets; null without good answers"}
)
TRAFFIC = object_with(
    requests_per_s=PER_SECOND,
    errors_per_s={**PER_SECOND, "description": "those of them that were errors"},
    p50_s=LATENCY,
    p95_s=LATENCY,
    p99_s=LATENCY,
    window_s={**SECONDS, "description": "the rates above cover the last so many seconds"},
    history_s={**SECONDS, "description": "how far the points below reach back at most"},
    history={
        **list_schema(
            object_with(
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
VERSION_STATUS = object_with(
    version=VERSION,
    state={"enum": ["START", "LOADING", "AVAILABLE", "UNLOADING", "END"]},
    aspired={**TRUTH, "description": "whether the version policy selects it now"},
    since=TIME,
    labels={**list_schema(TEXT), "description": "labels that name it now"},
    replicas=nullable({**WHOLE, "description": "that run; null while the watcher has not reported"}),
    placement={
        **nullable({"enum": ["own", "hosted"]}),
        "description": "`own` has a Serve deployment, `hosted` is a child of a version host; null before it answers",
    },
    load_s=nullable(SECONDS),
    failed_attempts=WHOLE,
    next_attempt=nullable(TIME),
    error=nullable(object_with(code=TEXT, message=TEXT)),
    failing={
        **nullable(object_with(code=TEXT, message=TEXT)),
        "description": "the error of every run of a version that is loaded; null for one that answers",
    },
    runs_by={
        **nullable(TEXT),
        "description": "what calls TensorFlow in a run: `compiled`, or `python` alone; null while it is not known",
    },
    traffic={
        **nullable(TRAFFIC),
        "description": "of all replicas, whichever router was asked; null while it is not known",
    },
)
MODEL = object_with(
    name=TEXT,
    configured={**TRUTH, "description": "false for a model that was removed, while its versions are still shown"},
    base_path=TEXT,
    version_policy=POLICY,
    labels=list_schema(LABEL),
    rollout=ROLLOUT,
    limits={
        **object_with(
            max_requests_per_second=nullable({"type": "number", "exclusiveMinimum": 0}),
            max_in_flight=nullable({"type": "integer", "minimum": 1}),
        ),
        "description": "of all routers together; null where there is none",
    },
    refused_per_s={
        **nullable({"type": "number", "minimum": 0}),
        "description": "requests refused in a second, for a limit or because the server was full; null as traffic",
    },
    problem={
        **nullable(TEXT),
        "description": "why storage lists nothing to load, or what is wrong with a version there",
    },
    versions={**list_schema(VERSION_STATUS), "description": "newest first"},
    waiting=list_schema(object_with(version=VERSION, reason=TEXT)),
    ignored=list_schema(object_with(name=TEXT, reason=TEXT)),
    delivery={
        **nullable(DELIVERY),
        "description": "how requests are divided and copied, and the rollout; null where the newest version gets all",
    },
)
STATUS = object_with(server=SERVER, watcher=WATCHER, configuration=CONFIGURATION, models=list_schema(MODEL))
