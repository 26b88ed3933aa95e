"""`cluster.yaml` is a file that Ray's cluster launcher takes."""

from __future__ import annotations

import copy
import re
import tomllib
from typing import Any

import jsonschema
import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

from tests.support.project import ROOT

SETTINGS = "configs/ray_cluster.sh"
INSTALLED_AT = "~/ray-model-server/"


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
    """Each mounted path of the project exists; the build, and the commands, find what they need at its place."""
    mounted = {
        there.removeprefix(INSTALLED_AT): local.removeprefix("./")
        for there, local in cluster["file_mounts"].items()
        if there.startswith(INSTALLED_AT)
    }
    named = {path.split("/")[0] for path in re.findall(rf"{INSTALLED_AT}([\w./]+)", yaml.safe_dump(commands(cluster)))}

    assert {there for there, local in mounted.items() if there != local or not (ROOT / local).exists()} == set()
    assert named | needed_by_the_build() <= mounted.keys()


def commands(cluster: dict[str, Any]) -> dict[str, Any]:
    """Return what runs on the nodes."""
    return {name: one for name, one in cluster.items() if name.endswith("_commands")}


def needed_by_the_build() -> set[str]:
    """Return the files and folders at the top of the project that a wheel is made of."""
    metadata = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    project, packages = metadata["project"], metadata["tool"]["setuptools"]["packages"]["find"]["include"]
    files = {"pyproject.toml", "setup.py", "MANIFEST.in", project["readme"], *project["license-files"]}
    manifest = (ROOT / "MANIFEST.in").read_text(encoding="utf-8").splitlines()
    included = [line.split()[1] for line in manifest if line.startswith("recursive-include ")]
    compiled = re.findall(r'"(\w+)/[\w/]+\.py:', (ROOT / "setup.py").read_text(encoding="utf-8"))
    assert included
    assert compiled
    return files | {one.removesuffix("*") for one in packages} | {*included, *compiled}


def test_nodes_can_compile(cluster: dict[str, Any]) -> None:
    """Without a compiler and Python's headers the installation goes on, and every node is slower."""
    packages = " ".join(cluster["initialization_commands"]).split()

    assert {"gcc", "python3-dev", "python3-venv"} <= set(packages)


def test_every_node_uses_the_token(cluster: dict[str, Any]) -> None:
    """Ray starts with token authentication on head and workers alike."""
    for commands in (cluster["head_start_ray_commands"], cluster["worker_start_ray_commands"]):
        start = commands[-1]
        assert re.search(rf"\. ~/ray-model-server/{SETTINGS}; .*ray start", start)
    assert "export RAY_AUTH_MODE=token\n" in (ROOT / SETTINGS).read_text(encoding="utf-8")
