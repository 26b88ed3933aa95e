"""`cluster.yaml` is a file that Ray's cluster launcher takes."""

from __future__ import annotations

import copy
import re
from typing import Any

import jsonschema
import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

from tests.support.project import ROOT

SETTINGS = "configs/ray_cluster.sh"


@pytest.fixture
def cluster() -> dict[str, Any]:
    """Return the file's content."""
    content = yaml.safe_load((ROOT / "cluster.yaml").read_text(encoding="utf-8"))
    assert isinstance(content, dict)
    return content


def test_ray_accepts_the_cluster_file(cluster: dict[str, Any]) -> None:
    """With the provider's defaults filled in, Ray's own check finds nothing to say."""
    validate_config(prepare_config(copy.deepcopy(cluster)))


def test_rays_check_does_find_mistakes(cluster: dict[str, Any]) -> None:
    """The check above would fail for a field that does not exist."""
    cluster["max_worker"] = 8

    with pytest.raises(jsonschema.ValidationError, match="max_worker"):
        validate_config(prepare_config(cluster))


def test_there_are_cpu_and_gpu_workers_within_the_limit(cluster: dict[str, Any]) -> None:
    """The limits of the worker types together stay within the cluster's."""
    types = cluster["available_node_types"]
    workers = {name: one for name, one in types.items() if name != cluster["head_node_type"]}

    assert set(workers) == {"cpu_worker", "gpu_worker"}
    assert sum(one["max_workers"] for one in workers.values()) <= cluster["max_workers"]


def test_everything_that_nodes_install_is_copied_to_them(cluster: dict[str, Any]) -> None:
    """Each mounted path of the project exists, and the project's build finds what it needs."""
    mounted = {local.removeprefix("./") for local in cluster["file_mounts"].values() if local.startswith("./")}

    assert {"core", "deployments", "pyproject.toml", "requirements.lock", "README.md", "LICENSE"} <= mounted
    assert [path for path in mounted if not (ROOT / path).exists()] == []


def test_every_node_uses_the_token(cluster: dict[str, Any]) -> None:
    """Ray starts with token authentication on head and workers alike."""
    for commands in (cluster["head_start_ray_commands"], cluster["worker_start_ray_commands"]):
        start = commands[-1]
        assert re.search(rf"\. ~/ray-model-server/{SETTINGS}; .*ray start", start)
    assert "export RAY_AUTH_MODE=token\n" in (ROOT / SETTINGS).read_text(encoding="utf-8")
