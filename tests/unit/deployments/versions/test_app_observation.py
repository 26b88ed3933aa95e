"""Tests of what is made of Serve's word about a version's application."""

from __future__ import annotations

from ray.serve._private.common import DeploymentStatus, DeploymentStatusTrigger
from ray.serve.schema import ApplicationStatus, ApplicationStatusOverview, DeploymentStatusOverview

from core.errors import Code
from core.versions.load_report import LoadFailed, failure_in
from core.versions.world import Condition
from deployments.versions.serve_host import _observation


def failed_app(message: str) -> ApplicationStatusOverview:
    """Return what Serve says of an application whose only deployment failed."""
    deployment = DeploymentStatusOverview(
        status=DeploymentStatus.DEPLOY_FAILED,
        status_trigger=DeploymentStatusTrigger.REPLICA_STARTUP_FAILED,
        replica_states={},
        message=message,
    )
    return ApplicationStatusOverview(
        status=ApplicationStatus.DEPLOY_FAILED,
        message="Failed to update the deployments ['ModelServer'].",
        last_deployed_time_s=1.0,
        deployments={"ModelServer": deployment},
    )


def test_the_error_of_a_load_is_found() -> None:
    """Wherever it stands in the text."""
    seen = _observation(failed_app(f"Traceback:\n  File x\n{LoadFailed(Code.NOT_FOUND, 'no SavedModel')}\n"))

    failure = failure_in(seen.message)
    assert (seen.condition, failure.code, failure.message) == (Condition.FAILED, Code.NOT_FOUND, "no SavedModel")


def test_a_process_that_ended_without_a_word_is_told_by_its_own_last_line() -> None:
    """What Serve says of the application is the same for every failure."""
    seen = _observation(failed_app("The deployment failed to start.\nAttributeError: no attribute 'x'"))

    assert failure_in(seen.message).message.endswith("ended without an answer: AttributeError: no attribute 'x'")
