"""A local Ray belongs to the server, a cluster that is joined does not."""

from __future__ import annotations

import pytest

from deployments.launch.ray_cluster import RayCluster


@pytest.mark.parametrize(("address", "is_own"), [("", True), ("auto", False), ("10.0.0.1:6379", False)])
def test_ray_is_the_servers_own_without_an_address(address: str, is_own: bool) -> None:  # noqa: FBT001
    """Only then it is started, and ended with the server."""
    assert RayCluster(address).is_own is is_own


def test_a_cluster_that_was_never_started_can_be_stopped() -> None:
    """The server ends in the same way wherever its start failed."""
    RayCluster("").stop()
