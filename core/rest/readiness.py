"""The bodies of /healthz, /readyz and the list of models, from the routing table alone."""

from __future__ import annotations

from typing import Any

from core.admin.json_page import json_page
from core.routing.server_state import failed_loads, failing_versions, server_state, why_missing
from core.routing.table import ModelRoutes, RoutingTable
from core.telemetry.redaction import without_secrets
from core.versions.lifecycle import VersionStatus


def liveness_body() -> bytes:
    """Return the body that shows that the process answers."""
    return b'{"alive": true}\n'


def takes_no_page(accept: str) -> bool:
    """Whether a client says by its header `accept` what it takes, and does not name HTML, as every browser does."""
    return bool(accept) and "html" not in accept.lower()


def root_body() -> bytes:
    """Return what a client gets at `/` that takes no page: by this, KServe's version 1 knows a server that lives."""
    return b'{"status": "alive"}\n'


def readiness_body(table: RoutingTable, *, draining: bool, has_reasons: bool = True) -> tuple[bool, bytes]:
    """Whether requests should be sent here, and what is missing, unless the caller may not see that.

    The rule is that of `core.routing.server_state`. `missing` names the models and labels that do not answer,
    `reasons` everything that keeps the server from being ready without problems.
    """
    state = server_state(table, is_draining=draining)
    missing = table.models.items() if has_reasons else ()
    document = {
        "ready": state.is_ready,
        "state": state.readiness.value,
        "draining": draining,
        "generation": table.generation,
        "missing": {name: _what_is_missing(model) for name, model in missing if _is_missing(model)},
        "reasons": list(state.reasons) if has_reasons else [],
    }
    return state.is_ready, json_page(document)


def _is_missing(model: ModelRoutes) -> bool:
    return model.configured and (not model.is_available or model.is_failing or bool(model.pending_labels))


def _what_is_missing(model: ModelRoutes) -> str:
    if model.is_failing:
        return "; ".join(failing_versions(model))
    if model.is_available:
        return f"labels whose version is not available: {', '.join(sorted(model.pending_labels))}"
    return why_missing(model)


def model_list_body(table: RoutingTable) -> bytes:
    """Return all models with their versions, labels and problems (ours; TensorFlow Serving does not list them)."""
    models = [_model_entry(name, table.models[name]) for name in sorted(table.models)]
    return json_page({"models": models})


def _model_entry(name: str, model: ModelRoutes) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "name": name,
        "versions": [_version_entry(one, model) for one in model.statuses],
        "labels": {label: _label_entry(label, version, model) for label, version in model.labels.items()},
    }
    if model.problem:
        entry["problem"] = model.problem
    if model.waiting:
        entry["waiting"] = {str(number): why for number, why in model.waiting.items()}
    if model.ignored:
        entry["ignored"] = dict(model.ignored)
    if model.delivery.rejected:
        rejected = sorted(model.delivery.rejected.items(), reverse=True)
        entry["rejected"] = {str(number): without_secrets(one.reason) for number, one in rejected}
    return entry


def _label_entry(label: str, version: int, model: ModelRoutes) -> dict[str, Any]:
    entry: dict[str, Any] = {"version": str(version), "pending": label in model.pending_labels}
    return entry | ({"meanwhile": str(model.held[label])} if label in model.held else {})


def _version_entry(status: VersionStatus, model: ModelRoutes) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "version": str(status.version),
        "state": status.state.name,
        "labels": sorted(label for label, version in model.labels.items() if version == status.version),
    }
    failure = failed_loads(model).get(status.version)
    if status.message:
        entry["error"] = {"code": status.code.name, "message": status.message}
    elif failure is not None:
        entry["last_attempt"] = failure
    return entry
