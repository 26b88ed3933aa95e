"""Tests of the status document: what it says, that it keeps to its schema, and how it looks at a terminal."""

from __future__ import annotations

import json
from dataclasses import replace

import jsonschema
import pytest

from core.admin.status_document import AgedReport, Listener, RouterFacts, WatcherReport, status_document, status_json
from core.admin.status_text import status_text
from core.config.model_config import Rollout
from core.config.version_policy import All, Latest, RegisteredPolicy, Specific
from core.delivery.plan import RolloutPlan, RolloutStep
from core.delivery.rollout_record import RolloutPhase
from core.errors import Code, Problem
from core.openapi.status_schema import STATUS
from core.routing.admission import TrafficLimits
from core.routing.table import ListInForce, ModelRoutes, Route, RoutingTable
from core.telemetry.traffic import REFUSED, Point, Rates, Traffic
from core.versions.history import VersionHistory
from core.versions.lifecycle import State, VersionStatus
from core.versions.record import Failure
from core.versions.servable import ServableId
from tests.support.rollout_states import PLAN, RECORD, TRAFFIC, shares

START = 1_700_000_000.0
NOW = START + 3900.0
FACTS = RouterFacts(
    "r1", "1.2.3", START + 60.0, (Listener("grpc", "[::]:8500"), Listener("rest", "[::]:8501", is_encrypted=True)), ("/m.config",),
    runs_by={"m:1": "compiled"},
)  # fmt: skip
BUSY = Traffic(Rates(12.5, 0.0042, 0.25, 0.5, 0.02), (Point(15.0, Rates(0.0)), Point(5.0, Rates(25.0, 0.0042, 0.25))))
FRESH = AgedReport(WatcherReport({"m:3": 2, "m:1": 1}, 0.5, {("m", "1"): BUSY}), 0.25, is_fresh=True)
BROKEN = Failure(Code.NOT_FOUND, "no SavedModel there")


def model(**changes: object) -> ModelRoutes:
    """Make a model in the middle of a rollout: 1 retires, 3 loads; labels on their way; a broken version 2."""
    given = ModelRoutes(
        {1: Route.of(ServableId("m", 1))},
        {"stable": 3, "old": 1, "lost": 9},
        (VersionStatus(3, State.LOADING), VersionStatus(2, State.LOADING), VersionStatus(1, State.AVAILABLE)),
        ignored={"tmp": "not a whole number"},
        waiting={4: "waits for saved_model.pb"},
        held={"stable": 1},
        histories={
            3: VersionHistory(State.LOADING, since_s=NOW - 5.0),
            2: VersionHistory(
                State.START, since_s=NOW - 30.0, failed_attempts=1, retry_at_s=NOW + 30.0, failure=BROKEN
            ),
            1: VersionHistory(State.AVAILABLE, aspired=False, since_s=START + 10.0, load_s=4.25),
        },
        base_path="/models/m",
        policy=Latest(2),
    )
    return replace(given, **changes)


def table(**models: ModelRoutes) -> RoutingTable:
    return RoutingTable(17, models or {"m": model()}, settled=True, started_s=START)


def document(seen: RoutingTable, watcher: AgedReport = FRESH, facts: RouterFacts = FACTS) -> dict:
    """Return the document as a reader gets it, and check it against its schema."""
    read = json.loads(status_json(seen, facts, watcher, NOW))
    jsonschema.validate(read, STATUS)
    return read


def test_the_server_says_who_and_where_it_is() -> None:
    """Uptime counts from the first table, whichever router is asked."""
    server = document(table())["server"]

    assert server == {
        "version": "1.2.3",
        "started": "2023-11-14T22:13:20.000Z",
        "uptime_s": 3900.0,
        "generation": 17,
        "ready": True,
        "state": "ready with problems",
        "reasons": [
            (
                "m version 2 could not be loaded: NOT_FOUND: no SavedModel there "
                "(attempt 1; next attempt at 2023-11-14T23:18:50.000Z)"
            ),
            "m label lost names version 9, which does not answer",
        ],
        "draining": False,
        "warnings": [],
        "router": {"name": "r1", "started": "2023-11-14T22:14:20.000Z"},
        "listens": [
            {"protocol": "grpc", "address": "[::]:8500", "encrypted": False},
            {"protocol": "rest", "address": "[::]:8501", "encrypted": True},
        ],
    }


def test_a_model_says_all_that_is_known() -> None:
    """Nobody needs a second page to know what is going on."""
    (shown,) = document(table())["models"]

    assert shown["base_path"] == "/models/m"
    assert shown["version_policy"] == {"latest": 2}
    assert shown["rollout"] == {
        "policy": "availability_preserving", "in_progress": True, "loading": ["2", "3"], "unloading": ["1"],
    }  # fmt: skip
    assert shown["labels"] == [
        {"name": "lost", "version": "9", "pending": True, "meanwhile": None},
        {"name": "old", "version": "1", "pending": False, "meanwhile": None},
        {"name": "stable", "version": "3", "pending": True, "meanwhile": "1"},
    ]
    assert shown["waiting"] == [{"version": "4", "reason": "waits for saved_model.pb"}]
    assert shown["ignored"] == [{"name": "tmp", "reason": "not a whole number"}]


def test_a_version_says_since_when_how_long_and_why_not() -> None:
    """A load that is tried again shows its error, its attempts and the next one, which GetModelStatus does not."""
    loading, failing, serving = document(table())["models"][0]["versions"]

    assert serving == {
        "version": "1", "state": "AVAILABLE", "aspired": False, "since": "2023-11-14T22:13:30.000Z",
        "labels": ["old", "stable"], "replicas": 1, "placement": "own", "load_s": 4.25, "failed_attempts": 0, "next_attempt": None,
        "error": None, "failing": None, "runs_by": "compiled",
        "traffic": {
            "requests_per_s": 12.5, "p50_s": 0.0042, "p95_s": 0.02, "p99_s": 0.25, "errors_per_s": 0.5, "window_s": 30.0, "history_s": 300.0,
            "history": [
                {"s_ago": 15.2, "requests_per_s": 0.0, "p50_s": None, "p95_s": None, "p99_s": None, "errors_per_s": 0.0},
                {"s_ago": 5.2, "requests_per_s": 25.0, "p50_s": 0.0042, "p95_s": None, "p99_s": 0.25, "errors_per_s": 0.0},
            ],
        },
    }  # fmt: skip
    assert (failing["state"], failing["failed_attempts"], failing["next_attempt"]) == (
        "LOADING", 1, "2023-11-14T23:18:50.000Z",
    )  # fmt: skip
    assert failing["error"] == {"code": "NOT_FOUND", "message": "no SavedModel there"}
    assert (loading["replicas"], loading["load_s"], loading["traffic"]) == (2, None, None)
    assert loading["placement"] is None


def test_a_hosted_version_says_so() -> None:
    """In the document, and beside its replicas at a terminal."""
    hosted = document(table(m=model(routes={1: Route.of(ServableId("m", 1), "host@n")})))

    assert hosted["models"][0]["versions"][2]["placement"] == "hosted"
    assert "1 (hosted)" in status_text(hosted, "localhost")
    assert "(hosted)" not in status_text(document(table()), "localhost")


LOST = VersionStatus(1, State.AVAILABLE, Code.INTERNAL, "every run failed so far: device lost")


def test_a_version_that_answers_with_errors_only_shows_the_error() -> None:
    """In the document, at the terminal, and not as a failed load."""
    seen = document(table(m=model(statuses=(LOST,))))
    (version,) = seen["models"][0]["versions"]
    text = status_text(seen, "localhost")

    assert (version["state"], version["error"]) == ("AVAILABLE", None)
    assert version["failing"] == {"code": "INTERNAL", "message": LOST.message}
    assert "FAILING" in text
    assert f"m version 1: INTERNAL: {LOST.message}" in text


def test_a_model_shows_its_limits_and_what_they_refuse() -> None:
    """In the document; at the terminal only while something is refused."""
    limited = table(m=model(limits=TrafficLimits(2.5, 3)))
    refusing = AgedReport(WatcherReport(traffic={("m", REFUSED): Traffic(Rates(7.25))}), 0.25, is_fresh=True)
    (quiet,), (busy,), (unknown,) = (document(limited, one)["models"] for one in (FRESH, refusing, AgedReport()))

    assert quiet["limits"] == busy["limits"] == {"max_requests_per_second": 2.5, "max_in_flight": 3}
    assert document(table())["models"][0]["limits"] == {"max_requests_per_second": None, "max_in_flight": None}
    assert [one["refused_per_s"] for one in (quiet, busy, unknown)] == [0.0, 7.25, None]
    assert "m: 7.2 requests a second are refused" in status_text(document(limited, refusing), "localhost")
    assert "refused" not in status_text(document(limited), "localhost")


@pytest.mark.parametrize(
    ("known", "watcher", "replicas"),
    [
        (FRESH, {"answers": True, "ticked_s_ago": 0.75}, 1),
        (AgedReport(FRESH.report, 90.0), {"answers": False, "ticked_s_ago": 90.5}, 1),
        (AgedReport(), {"answers": False, "ticked_s_ago": None}, None),
    ],
)
def test_without_the_watcher_the_last_known_counts(known, watcher, replicas) -> None:
    """What comes from the table is shown all the same."""
    shown = document(table(), known)

    assert shown["watcher"] == watcher
    assert shown["models"][0]["versions"][2]["replicas"] == replicas


@pytest.mark.parametrize(("age_s", "rate"), [(29.0, 12.5), (31.0, None)])
def test_traffic_of_long_ago_is_no_traffic_of_now(age_s: float, rate: float | None) -> None:
    """While the watcher does not answer, its last numbers count as long as they would tell of now."""
    shown = document(table(), AgedReport(FRESH.report, age_s))

    assert (shown["models"][0]["versions"][2]["traffic"] or {}).get("requests_per_s") == rate


def test_the_configuration_says_where_it_comes_from_and_what_was_refused() -> None:
    """Each mistake has its file and line."""
    seen = replace(
        table(), in_force=ListInForce(is_requested=True, problems=(Problem("typo", "/m.config", 3, "config[0].name"),))
    )

    assert document(seen)["configuration"] == {
        "origin": "request",
        "files": ["/m.config"],
        "problems": [{"file": "/m.config", "line": 3, "field": "config[0].name", "message": "typo"}],
    }
    assert document(table())["configuration"]["origin"] == "files"


@pytest.mark.parametrize(
    ("policy", "shown"),
    [
        (All(), {"all": True}),
        (Specific(frozenset({10, 9})), {"specific": ["9", "10"]}),
        (RegisteredPolicy("odd", '{"least": 3}'), {"extension": "odd", "arguments": {"least": 3}}),
        (None, None),
    ],
)
def test_every_policy_has_its_shape(policy, shown) -> None:
    """A removed model has none."""
    assert document(table(m=model(policy=policy)))["models"][0]["version_policy"] == shown


@pytest.mark.parametrize(
    ("history", "in_progress"),
    [
        (VersionHistory(State.AVAILABLE), False),
        (VersionHistory(State.AVAILABLE, aspired=False), True),
        (VersionHistory(State.START), True),
        (VersionHistory(State.END), False),
        (VersionHistory(State.END, aspired=False), False),
        (VersionHistory(State.UNLOADING, aspired=False), True),
    ],
)
def test_a_rollout_is_in_progress_while_versions_come_or_go(history, in_progress) -> None:
    """A version that failed for good is not on its way."""
    seen = table(m=model(histories={1: history}, rollout=Rollout.RESOURCE_PRESERVING))

    rollout = document(seen)["models"][0]["rollout"]

    assert (rollout["policy"], rollout["in_progress"]) == ("resource_preserving", in_progress)


def test_credentials_in_a_base_path_are_not_shown() -> None:
    """The page needs no login."""
    seen = table(m=model(base_path="https://user:secret@store/m@x"))

    assert document(seen)["models"][0]["base_path"] == "https://***@store/m@x"


def test_a_stopping_server_is_not_ready() -> None:
    """As /readyz says."""
    server = document(table(), facts=replace(FACTS, is_draining=True))["server"]

    assert (server["ready"], server["draining"]) == (False, True)


def test_odd_names_break_neither_document_nor_terminal() -> None:
    """A directory may be called anything, also an escape sequence."""
    odd = model(ignored={"caf\udce9": "not a whole number", "\x1b[2J\nx": "not a whole number"}, problem="a\nb")
    seen = document(table(m=odd))

    text = status_text(seen, "here")

    assert "\x1b" not in text
    assert "m directory caf?: ignored" in text
    assert "m: a b" in text


def test_a_wall_clock_that_was_set_back_gives_no_negative_times() -> None:
    """The first table was made in the future."""
    assert status_document(table(), FACTS, FRESH, START - 10.0)["server"]["uptime_s"] == 0.0


# At a terminal.

TEXT = """\
Ray Model Server 1.2.3 at localhost:8500: ready with problems, up 1 h 5 min, routing generation 17
Listens: grpc [::]:8500, rest [::]:8501 (TLS)
Models: from /m.config

MODEL  VERSION  STATE                 FOR         LOADED IN  REPLICAS  REQ/S              P50      P99     LABELS
m      3        LOADING               5 s                    2                                 stable (pending)
       2        LOADING               30 s             0
       1        AVAILABLE (unwanted)  1 h 4 min   4.2 s      1         12.5 (0.50 errors)  4.20 ms  250 ms  old, stable (until 3 answers)

m version 2: no SavedModel there (attempt 2 at 2023-11-14T23:18:50.000Z)
m label lost: pending, version 9 is not there
m version 4: not loaded, waits for saved_model.pb
m directory tmp: ignored, not a whole number
"""


def test_the_terminal_shows_the_same() -> None:
    """A table first, then what is wrong or unfinished."""
    lines = [line.rstrip() for line in status_text(document(table()), "localhost:8500").splitlines()]

    assert [" ".join(line.split()) for line in lines] == [" ".join(line.split()) for line in TEXT.splitlines()]


def test_the_terminal_shows_problems_first_hand() -> None:
    """A refused file, a silent watcher, a stopping server, a failed version, models without versions."""
    failed = model(
        statuses=(VersionStatus(2, State.END, Code.NOT_FOUND, "x"),),
        histories={2: VersionHistory(State.END, since_s=NOW, failed_attempts=6, failure=BROKEN)},
        problem="",
    )
    seen = RoutingTable(
        1, {"m": failed, "empty": ModelRoutes(problem="Could not find base path /e")}, settled=True, started_s=START,
        in_force=ListInForce(is_requested=True, problems=(Problem("typo", "/m.config", 3), Problem("worse"))),
    )  # fmt: skip
    facts = replace(FACTS, is_draining=True, listeners=(), files=(), warnings=("Python is slow",))

    text = status_text(document(seen, AgedReport(), facts), "unix:/s")

    assert "stopping" in text
    assert "Listens: nowhere" in text
    assert "Models: changed at run time\n" in text
    assert "The watcher does not answer" in text
    assert "\nWarning: Python is slow\n" in text
    assert "  /m.config:3: typo\n  worse\n" in text
    assert "FAILED" in text
    assert "empty  -        no version" in text
    assert "empty: Could not find base path /e" in text


def test_the_terminal_says_where_runs_take_longer_than_they_need() -> None:
    """The compiled part is missing there, or was left aside."""
    slow = replace(FACTS, runs_by={"m:1": "python", "m:3": "compiled"})

    assert "Runs of 1 version are called by Python alone" in status_text(document(table(), facts=slow), "here")
    assert "Python alone" not in status_text(document(table()), "here")


def test_one_model_can_be_shown_alone_and_none_is_said_so() -> None:
    """`status MODEL`."""
    seen = document(table(a=model(), b=model()))

    requested = replace(table(), in_force=ListInForce(is_requested=True))
    assert "changed at run time, until the content of /m.config changes" in status_text(document(requested), "here")
    assert "a  " not in status_text(seen, "here", "b").split("LABELS")[1]
    assert "No models." in status_text(document(RoutingTable(1, settled=True, started_s=START)), "here")


def test_what_a_caller_may_not_see_is_left_out() -> None:
    """An empty list would say that the server listens nowhere, and "files" that no request changed the models."""
    shown = status_document(table(), FACTS.of_state_only(), FRESH, NOW)

    assert (shown["server"]["listens"], shown["server"]["warnings"]) == (None, None)
    assert shown["configuration"] == {"origin": None, "files": None, "problems": None}
    text = status_text(shown, "here:1")
    assert "Listens" not in text
    assert "Models: " not in text


def test_the_state_is_that_of_the_server_whoever_asks() -> None:
    """The reasons are cut to what the caller may see."""
    whole = table(m=model(), broken=ModelRoutes(problem="secret"))
    whole = replace(whole, awaited=frozenset({ServableId("broken", 1)}))
    seen = replace(whole, models={}, awaited=frozenset())
    server = status_document(seen, FACTS.of_state_only(), FRESH, NOW, whole)["server"]

    assert (server["ready"], server["state"], server["reasons"]) == (False, "not ready", [])
    assert status_document(seen, FACTS, FRESH, NOW)["server"]["ready"]


def test_a_model_with_a_rollout_has_it_with_what_the_watcher_counted() -> None:
    """The record comes with the table, the counts of both arms with the watcher's report."""
    rolling = model(delivery=RECORD, division=shares(500), signature_changes=("output `y` is new",))
    counted = AgedReport(WatcherReport(divided={"m": TRAFFIC}), 0.25, is_fresh=True)

    (shown,) = document(table(m=rolling), counted)["models"]

    assert (shown["delivery"]["phase"], shown["delivery"]["step"]) == ("step", 1)
    assert [one["requests"] for one in shown["delivery"]["arms"]] == [18_240, 962]
    assert shown["delivery"]["warnings"] == ["output `y` is new"]
    assert [one["metric"] for one in shown["delivery"]["metrics"]] == [rule.name for rule in PLAN.analysis.rules]
    assert document(table())["models"][0]["delivery"] is None


def test_changed_signatures_are_told_at_the_terminal() -> None:
    """Also of a model that has no plan: its requests fail, and this says why."""
    found = document(table(m=model(signature_changes=("input `x` is missing",))))

    assert "m: the new version differs from the one before: input `x` is missing\n" in status_text(found, "here")


def test_a_rollout_that_has_ended_leaves_the_plan_of_the_next() -> None:
    """A changed plan is for the next rollout; the record still has that of the last one."""
    following = RolloutPlan((RolloutStep(weight=100, bake_s=60.0),))
    ended = replace(RECORD, phase=RolloutPhase.IDLE, canary=0)

    (idle,) = document(table(m=model(delivery=ended, plan=following)))["models"]
    (running,) = document(table(m=model(delivery=RECORD, plan=following)))["models"]

    assert (len(idle["delivery"]["steps"]), len(running["delivery"]["steps"])) == (1, 5)
