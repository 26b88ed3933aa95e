"""The schema of a model's `delivery` in the status document: how its requests are divided, and its rollout."""

from __future__ import annotations

from core.delivery.analysis import Verdict
from core.delivery.rollout_record import PauseCause, RolloutOutcome, RolloutPhase
from core.openapi.schema_parts import SECONDS, TEXT, TIME, VERSION, WHOLE, Json, list_schema, nullable, object_with

PERCENT: Json = {"type": "number", "minimum": 0, "maximum": 100, "description": "percent, with two decimals at most"}
RATE: Json = {"type": "number", "minimum": 0}
WEIGHTS = list_schema(object_with(version=VERSION, percent=PERCENT))
STEP = object_with(
    kind={"enum": ["mirror", "weight", "pause"]},
    percent=nullable(PERCENT),
    bake_s={**nullable(SECONDS), "description": "how long the step lasts at least; null until an order goes on"},
    min_requests={**nullable(WHOLE), "description": "requests of the canary, or compared copies"},
    gate={**nullable(TEXT), "description": "a URL that answers 200 when the next step may begin"},
    state={"enum": ["to_come", "running", "paused", "done", "ended"]},
    baked_s={**nullable(SECONDS), "description": "of the present step: how long it has been in force"},
)
ARM = object_with(
    version=VERSION,
    role={"enum": ["stable", "canary", "previous", "other"]},
    percent=PERCENT,
    requests={**WHOLE, "description": "since the present shares are in force"},
    server_errors=WHOLE,
    client_errors=WHOLE,
    p50_s=nullable(SECONDS),
    p99_s=nullable(SECONDS),
    requests_per_s={**nullable(RATE), "description": "of the last seconds; null while it is not known"},
    errors_per_s=nullable(RATE),
    batch_rows={**nullable(RATE), "description": "mean rows of a run; null where it is not known"},
)
EVENTS = object_with(events=WHOLE, requests=WHOLE, rate=nullable(RATE))
METRIC = object_with(
    metric=TEXT,
    verdict={"enum": [one.value for one in Verdict]},
    unit={**TEXT, "description": "what events are counted of: requests, keys or pairs"},
    limit=nullable(object_with(name={"enum": ["max_ratio", "max_distance", "max_rate"]}, value=RATE)),
    stable=EVENTS,
    canary=EVENTS,
    evidence={**RATE, "description": "against the canary; it fails where this reaches evidence_limit"},
    evidence_limit=RATE,
    evidence_share={"type": "number", "minimum": 0, "maximum": 1, "description": "the same as logarithms: 1 fails"},
    outlook={**nullable(TEXT), "description": "what would change the verdict"},
)
DISTANCE = object_with(
    up_to={**nullable(RATE), "description": "relative distance; null has no upper edge"}, pairs=WHOLE
)
COPIES = object_with(
    version=VERSION,
    compared=WHOLE,
    identical=WHOLE,
    within={**WHOLE, "description": "the tolerance"},
    outside=WHOLE,
    structural={**WHOLE, "description": "other outputs, types or shapes"},
    failed={**WHOLE, "description": "the copy alone got an error"},
    dropped={**WHOLE, "description": "found no place, and were not sent"},
    reason={**nullable(TEXT), "description": "of the last structural difference"},
    outputs=list_schema(
        object_with(
            output=TEXT,
            pairs={**WHOLE, "description": "answers that both have it"},
            different=WHOLE,
            outside=WHOLE,
            flips={**WHOLE, "description": "pairs in which a row's largest column differs"},
            not_finite=WHOLE,
            largest={**RATE, "description": "absolute difference"},
            distances=list_schema(DISTANCE),
        )
    ),
)
DELIVERY = object_with(
    phase={"enum": [one.value for one in RolloutPhase]},
    reason={**nullable(TEXT), "description": "why the rollout is in this phase, where there is more to say"},
    paused_by=nullable(TEXT),
    pause_cause=nullable({"enum": [one.value for one in PauseCause]}),
    outcome={
        **nullable({"enum": [one.value for one in RolloutOutcome]}),
        "description": "of the last rollout, or of this one where it is being rolled back",
    },
    rollout={**nullable(TEXT), "description": "names the rollout; sticky choices depend on it"},
    generation={**WHOLE, "description": "rises whenever the record of the rollout changes"},
    stable=nullable(VERSION),
    canary=nullable(VERSION),
    previous={**nullable(VERSION), "description": "was stable before, and is loaded until the rollback window is over"},
    queued={**nullable(VERSION), "description": "the version that follows when this rollout has ended"},
    weights={**WEIGHTS, "description": "of the requests that name neither a version nor a label, stable first"},
    ordered_weights={**WEIGHTS, "description": "what an order fixed; in force as far as these versions answer"},
    label_weights=list_schema(object_with(label=TEXT, weights=WEIGHTS)),
    mirror=nullable(object_with(version=VERSION, percent=PERCENT, max_in_flight=WHOLE)),
    sticky_header={**nullable(TEXT), "description": "requests with the same value of it get the same version"},
    step={**nullable(WHOLE), "description": "the present one of the steps, from 0"},
    steps=list_schema(STEP),
    lasted_s=nullable(SECONDS),
    max_duration_s=nullable(SECONDS),
    left_s={**nullable(SECONDS), "description": "of the present phase, at least; null where time does not end it"},
    next_at=nullable(TIME),
    next={**nullable(TEXT), "description": "what follows"},
    arms={**list_schema(ARM), "description": "stable first"},
    metrics=list_schema(METRIC),
    mirrored={**nullable(COPIES), "description": "how copies to the canary differ"},
    noise_floor={**nullable(COPIES), "description": "how copies to stable itself differ"},
    warnings={**list_schema(TEXT), "description": "how the signatures of the canary differ"},
    rejected=list_schema(object_with(version=VERSION, reason=nullable(TEXT), at=TIME)),
    happenings={
        **list_schema(object_with(at=TIME, name=TEXT, version=nullable(VERSION), text=nullable(TEXT))),
        "description": "oldest first",
    },
)
