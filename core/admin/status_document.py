"""The JSON document about the state of the server: for the status page, the `status` command, and scripts.

Nearly all of it comes from the routing table, which every router has. Values that change from second to second are
requested from the watcher (`WatcherReport`); while it does not answer, its last report is used, with its age.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from core.admin.json_page import json_page
from core.config.model_config import Placement
from core.config.version_policy import All, Latest, RegisteredPolicy, Specific, VersionPolicy
from core.delivery.rollout_record import RolloutPhase
from core.delivery.standings import standings
from core.delivery_status.divided_traffic import NOTHING_DIVIDED, DividedTraffic
from core.delivery_status.rollout_document import RolloutFacts, rollout_document
from core.errors import Problem
from core.routing.server_state import server_state
from core.routing.table import ModelRoutes, Route, RoutingTable
from core.telemetry.log_lines import iso_time
from core.telemetry.redaction import without_secrets
from core.telemetry.traffic import KEPT_S, REFUSED, WINDOW_S, Rates, Traffic, Version
from core.versions.history import VersionHistory
from core.versions.lifecycle import State, VersionStatus
from core.versions.record import Failure
from core.versions.servable import ServableId, app_name

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Listener:
    """One address that this router listens on."""

    protocol: str
    address: str
    is_encrypted: bool = False


@dataclass(frozen=True, slots=True)
class RouterFacts:
    """A router's description of itself; `files` are the files that list the models, `since_s` is when it started.

    The warnings are about its installation, which makes it slower than it could be.
    `problems` are those of files that the router itself follows.
    Facts that are not `whole` go to callers who may not see where it listens, its files, and what is wrong with them.
    `runs_by` has what calls the runs in the replicas of an application, as far as the router is connected to them.
    """

    name: str
    version: str
    since_s: float
    listeners: tuple[Listener, ...] = ()
    files: tuple[str, ...] = ()
    is_draining: bool = False
    warnings: tuple[str, ...] = ()
    runs_by: Mapping[str, str] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()
    is_whole: bool = True

    def of_state_only(self) -> RouterFacts:
        """Return what callers see who may not see the whole server: no addresses, files and problems of them."""
        return replace(self, listeners=(), files=(), warnings=(), problems=(), is_whole=False)


@dataclass(frozen=True, slots=True)
class WatcherReport:
    """What the watcher reports: running replicas by application, seconds since its last tick ended, traffic.

    `divided` has what routers counted for each version of a model, by model, where its requests are divided or copied.
    """

    replicas: Mapping[str, int] = field(default_factory=dict)
    ticked_ago_s: float = 0.0
    traffic: Mapping[Version, Traffic] = field(default_factory=dict)
    divided: Mapping[str, DividedTraffic] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AgedReport:
    """The last report of the watcher with its age; `is_fresh` is false while the watcher does not answer."""

    report: WatcherReport | None = None
    age_s: float = 0.0
    is_fresh: bool = False


def status_json(
    table: RoutingTable, facts: RouterFacts, watcher: AgedReport, wall_s: float, uncut: RoutingTable | None = None
) -> bytes:
    """Return the document as the bytes of a page."""
    return json_page(status_document(table, facts, watcher, wall_s, uncut))


def status_document(
    table: RoutingTable, facts: RouterFacts, watcher: AgedReport, wall_s: float, uncut: RoutingTable | None = None
) -> Json:
    """Return the document as a value; times of day are texts in UTC, durations are seconds.

    `uncut` is the table from which a caller's was cut: the state is that of the server, whoever asks, and the reasons
    are those that the caller may see. What facts that are not whole leave out is null.
    """
    return {
        "server": _server(table, facts, wall_s, uncut or table),
        "watcher": _watcher(watcher),
        "configuration": _configuration(table, facts),
        "models": [
            {
                **_model(name, table.models[name], facts, watcher),
                "delivery": _delivery(name, table.models[name], watcher, wall_s),
            }
            for name in sorted(table.models)
        ],
    }


def _configuration(table: RoutingTable, facts: RouterFacts) -> Json:
    if not facts.is_whole:
        return dict.fromkeys(("origin", "files", "problems"))
    return {
        "origin": "request" if table.in_force.is_requested else "files",
        "files": list(facts.files),
        "problems": [_problem(one) for one in (*table.in_force.problems, *facts.problems)],
    }


def _server(table: RoutingTable, facts: RouterFacts, wall_s: float, uncut: RoutingTable) -> Json:
    started_s = table.started_s or facts.since_s
    state = server_state(uncut, is_draining=facts.is_draining)
    reasons = state.reasons if uncut is table else server_state(table, is_draining=facts.is_draining).reasons
    return {
        "version": facts.version,
        "started": iso_time(started_s),
        "uptime_s": round(max(0.0, wall_s - started_s), 3),
        "generation": table.generation,
        "ready": state.is_ready,
        "state": state.readiness.value,
        "reasons": [without_secrets(one) for one in reasons],
        "draining": facts.is_draining,
        "warnings": list(facts.warnings) if facts.is_whole else None,
        "router": {"name": facts.name, "started": iso_time(facts.since_s)},
        "listens": [_listener(one) for one in facts.listeners] if facts.is_whole else None,
    }


def _listener(listener: Listener) -> Json:
    return {"protocol": listener.protocol, "address": listener.address, "encrypted": listener.is_encrypted}


def _watcher(watcher: AgedReport) -> Json:
    ticked = watcher.report.ticked_ago_s + watcher.age_s if watcher.report is not None else None
    return {"answers": watcher.is_fresh, "ticked_s_ago": round(ticked, 3) if ticked is not None else None}


def _problem(problem: Problem) -> Json:
    return {"file": problem.file, "line": problem.line, "field": problem.field, "message": problem.message}


def _model(name: str, model: ModelRoutes, facts: RouterFacts, watcher: AgedReport) -> Json:
    return {
        "name": name,
        "configured": model.configured,
        "base_path": without_secrets(model.base_path),
        "version_policy": _policy(model.policy),
        "labels": [_label(label, model) for label in sorted(model.labels)],
        "rollout": _rollout(model),
        "limits": {
            "max_requests_per_second": model.limits.max_requests_per_second or None,
            "max_in_flight": model.limits.max_in_flight or None,
        },
        "refused_per_s": _refused(name, watcher),
        "problem": model.problem or None,
        "versions": [_version(ServableId(name, one.version), one, model, facts, watcher) for one in model.statuses],
        "waiting": [{"version": str(number), "reason": why} for number, why in sorted(model.waiting.items())],
        "ignored": [{"name": child, "reason": why} for child, why in sorted(model.ignored.items())],
    }


def _delivery(name: str, model: ModelRoutes, watcher: AgedReport, wall_s: float) -> Json | None:
    """Return how the requests for a model are divided, and its rollout; None for a model with neither."""
    record = model.delivery
    plan = (record.plan if record.phase is not RolloutPhase.IDLE else None) or model.plan
    known = standings(record.analysis, plan.analysis) if plan is not None and record.canary else ()
    divided = watcher.report.divided if watcher.report is not None else {}
    facts = RolloutFacts(model.division, plan, known, divided.get(name, NOTHING_DIVIDED), model.signature_changes)
    return rollout_document(record, facts, wall_s)


def _policy(policy: VersionPolicy | None) -> Json | None:
    if policy is None:
        return None
    if isinstance(policy, Latest):
        return {"latest": policy.count}
    if isinstance(policy, All):
        return {"all": True}
    if isinstance(policy, RegisteredPolicy):
        return {"extension": policy.name, "arguments": json.loads(policy.arguments)}
    return {"specific": _texts(policy.versions)} if isinstance(policy, Specific) else None


def _label(label: str, model: ModelRoutes) -> Json:
    held = model.held.get(label)
    return {
        "name": label,
        "version": str(model.labels[label]),
        "pending": label in model.pending_labels,
        "meanwhile": str(held) if held is not None else None,
    }


def _rollout(model: ModelRoutes) -> Json:
    """Return which versions are being loaded and unloaded; a version that failed for good is neither."""
    coming = [one for one, seen in model.histories.items() if seen.aspired and _comes(seen.state)]
    going = [one for one, seen in model.histories.items() if not seen.aspired and seen.state is not State.END]
    return {
        "policy": model.rollout.value,
        "in_progress": bool(coming or going),
        "loading": _texts(coming),
        "unloading": _texts(going),
    }


def _comes(state: State) -> bool:
    return state in {State.START, State.LOADING, State.UNLOADING}


def _texts(versions: Iterable[int]) -> list[str]:
    return [str(version) for version in sorted(versions)]


def _version(
    servable: ServableId, status: VersionStatus, model: ModelRoutes, facts: RouterFacts, watcher: AgedReport
) -> Json:
    replicas = watcher.report.replicas if watcher.report is not None else None
    history = model.histories.get(servable.version, VersionHistory(status.state))
    return {
        "version": str(servable.version),
        "state": status.state.name,
        "aspired": history.aspired,
        "since": iso_time(history.since_s),
        "labels": sorted(label for label in model.labels if model.version_of(label) == servable.version),
        "replicas": replicas.get(app_name(servable), 0) if replicas is not None else None,
        "placement": _placement(model.routes.get(servable.version)),
        "load_s": round(history.load_s, 3) if history.load_s is not None else None,
        "failed_attempts": history.failed_attempts,
        "next_attempt": iso_time(history.retry_at_s) if history.retry_at_s is not None else None,
        "error": _error(history.failure),
        "failing": _error(Failure(status.code, status.message)) if servable.version in model.failing else None,
        "runs_by": facts.runs_by.get(app_name(servable)) or None,
        "traffic": _traffic(servable, watcher),
    }


def _placement(route: Route | None) -> str | None:
    if route is None:
        return None
    placement = Placement.HOSTED if route.host else Placement.OWN
    return str(placement.value)


def _traffic(servable: ServableId, watcher: AgedReport) -> Json | None:
    """Return the traffic of a version; None when the report is older than the window of the present rates."""
    if watcher.report is None or watcher.age_s > WINDOW_S:
        return None
    traffic = watcher.report.traffic.get((servable.name, str(servable.version)))
    if traffic is None:
        return None
    curve = [{"s_ago": round(one.ago_s + watcher.age_s, 1), **_rates(one.rates)} for one in traffic.curve]
    return {**_rates(traffic.rates), "window_s": WINDOW_S, "history_s": KEPT_S, "history": curve}


def _refused(name: str, watcher: AgedReport) -> float | None:
    """Return how many requests of a model are refused in a second; None as for the traffic of a version."""
    if watcher.report is None or watcher.age_s > WINDOW_S:
        return None
    traffic = watcher.report.traffic.get((name, REFUSED))
    return 0.0 if traffic is None else round(traffic.rates.requests_per_s, 3)


def _rates(rates: Rates) -> Json:
    return {
        "requests_per_s": round(rates.requests_per_s, 3),
        "p50_s": _rounded(rates.p50_s),
        "p95_s": _rounded(rates.p95_s),
        "p99_s": _rounded(rates.p99_s),
        "errors_per_s": round(rates.errors_per_s, 3),
    }


def _rounded(latency_s: float | None) -> float | None:
    return round(latency_s, 6) if latency_s is not None else None


def _error(failure: Failure | None) -> Json | None:
    return {"code": failure.code.name, "message": failure.message} if failure is not None else None
