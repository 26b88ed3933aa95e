"""Who may do what, and see what."""

from __future__ import annotations

import pytest

from core.access.rights import (
    HEALTH,
    INFER,
    METADATA,
    OWN_ADMIN,
    RELOAD,
    STATES,
    STATUS,
    WHOLE_STATUS,
    MethodGroup,
    Right,
)
from core.access.rules import AccessClient, Grant
from core.access.visitor import EVERYTHING, RuledVisitor, UnruledVisitor, Visitor
from core.delivery.analysis import AnalysisState
from core.delivery.plan import RolloutPlan, RolloutStep
from core.delivery.rollout_record import Happening, Rejection, RolloutPhase, RolloutRecord
from core.errors import PermissionDenied, Unauthenticated
from core.routing.table import ModelRoutes, RoutingTable
from tests.support.doors.guarded_sites import GUARDED_TABLE, SECRET_ERROR


def grant(*groups: str, models: tuple[str, ...] = ()) -> Grant:
    return Grant(frozenset(map(MethodGroup, groups)), models)


def visitor(*grants: Grant, anyone: tuple[Grant, ...] = (), problem: str = "") -> RuledVisitor:
    clients = (AccessClient("a", grants),) if grants else ()
    return RuledVisitor(clients, anyone, problem)


def allows(who: Visitor, right: Right) -> bool:
    try:
        who.require(right)
    except (Unauthenticated, PermissionDenied):
        return False
    return True


@pytest.mark.parametrize(
    ("given", "right", "wanted"),
    [
        (grant("infer"), INFER.of("m"), True),
        (grant("infer"), METADATA.of("m"), False),
        (grant("infer", models=("m",)), INFER.of("m"), True),
        (grant("infer", models=("m",)), INFER.of("mm"), False),
        (grant("infer", models=("m",)), INFER.of("M"), False),
        (grant("infer", models=("m*",)), INFER.of("mm"), True),
        (grant("infer", models=("*-prod",)), INFER.of("a-prod\n"), False),
        (grant("infer", models=("a.c",)), INFER.of("abc"), False),
        (grant("infer", models=("m",)), INFER.of(""), False),
        (grant("status"), WHOLE_STATUS, True),
        (grant("status", models=("m",)), WHOLE_STATUS, False),
        (grant("status", models=("m",)), STATUS, True),
        (grant("admin"), STATUS, True),
        (grant("metadata"), STATES.of("m"), True),
        (grant("metadata"), STATUS.of("m"), False),
        (grant("admin"), RELOAD, True),
        (grant("admin", models=("m",)), RELOAD, False),
        (grant("admin", models=("m",)), OWN_ADMIN.of("m"), True),
        (grant("admin"), INFER.of("m"), False),
        (grant("health"), STATUS, False),
    ],
)
def test_a_right_needs_its_group_and_its_model(given: Grant, right: Right, wanted: object) -> None:
    """A pattern has `*` only; names are compared as they are."""
    assert allows(visitor(given), right) is wanted


def test_nobody_known_is_asked_to_show_a_token_and_somebody_known_is_refused() -> None:
    """401 can be mended by the caller, 403 by the operator alone."""
    with pytest.raises(Unauthenticated, match="needs a token"):
        visitor().require(INFER.of("m"))
    with pytest.raises(PermissionDenied, match="is not allowed to a"):
        visitor(grant("health")).require(INFER.of("m"))
    with pytest.raises(Unauthenticated, match="expired"):
        visitor(problem="The token has expired.").require(INFER.of("m"))


def test_a_wrong_token_does_not_close_what_is_open_to_anyone() -> None:
    """A probe with an old token still works."""
    visitor(anyone=(grant("health"),), problem="The token is not valid.").require(HEALTH)


def test_a_wrong_token_beside_a_good_certificate_is_refused() -> None:
    """A caller that shows a token means to be judged by it."""
    with pytest.raises(Unauthenticated, match="not valid"):
        visitor(grant("infer"), problem="The token is not valid.").require(INFER.of("m"))


def test_without_a_file_only_our_own_changes_are_refused_from_elsewhere() -> None:
    """TensorFlow Serving answers reload requests to everyone."""
    far = UnruledVisitor(is_local=False)

    assert [allows(far, one) for one in (INFER.of("m"), RELOAD, WHOLE_STATUS, OWN_ADMIN)] == [True, True, True, False]
    assert allows(UnruledVisitor(is_local=True), OWN_ADMIN)
    with pytest.raises(PermissionDenied, match="--access_file; or start the server with --enable_remote_admin"):
        far.require(OWN_ADMIN)


def test_a_caller_sees_models_that_it_has_rights_to() -> None:
    """Others do not even exist for it."""
    table = visitor(grant("status", models=("m", "broken"))).sight.table(GUARDED_TABLE)

    assert set(table.models) == {"m", "broken"}
    assert table.models["broken"].problem == SECRET_ERROR
    assert table.in_force.problems == ()


def test_a_caller_without_the_right_to_status_sees_states_and_no_texts() -> None:
    """Errors and paths tell about the inside."""
    table = visitor(grant("metadata")).sight.table(GUARDED_TABLE)

    assert set(table.models) == {"m", "unseen", "broken"}
    assert table.models["broken"].statuses[0].state.name == "END"
    assert table.models["broken"].statuses[0].code.name == "NOT_FOUND"
    assert "secret" not in repr(table).lower()


def test_the_texts_of_rollouts_are_hidden_with_the_others() -> None:
    """Why, who, and where gates and notices go; which versions get requests is a state."""
    plan = RolloutPlan((RolloutStep(weight=100, gate="https://secret.example"),), notify="https://secret.example")
    record = RolloutRecord(
        stable=1, canary=2, phase=RolloutPhase.PAUSED, reason="secret", paused_by="secret", plan=plan, owner="secret",
        analysis=AnalysisState(structure="secret"), rejected={3: Rejection("secret")},
        happenings=(Happening(0.0, "rollout_paused", 2, "secret"),),
    )  # fmt: skip
    model = ModelRoutes(delivery=record, plan=plan, signature_changes=("secret",))
    table = RoutingTable(1, {"m": model})

    seen = visitor(grant("metadata")).sight.table(table)

    assert "secret" not in repr(seen)
    assert seen.models["m"].delivery.phase is RolloutPhase.PAUSED
    assert seen.models["m"].delivery.rejected.keys() == {3}
    assert visitor(grant("status", models=("m",))).sight.table(table).models["m"] is model


def test_the_right_to_all_shows_all() -> None:
    """The very same table."""
    assert visitor(grant("status")).sight.table(GUARDED_TABLE) is GUARDED_TABLE
    assert EVERYTHING.table(GUARDED_TABLE) is GUARDED_TABLE
