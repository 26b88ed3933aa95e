"""The runtime for KServe fits KServe's API, the server's flags and ports, and what Ray needs in a locked-up pod."""

from __future__ import annotations

import json
import re
from copy import deepcopy
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from core.config.arguments import ArgumentsOutcome, parse_flags
from core.config.server_settings import MonitoringConfig, ServerSettings
from tests.support import kserve_runtime
from tests.support.project import ROOT

SCHEMA = Path(kserve_runtime.__file__).with_name("kserve_runtime_schema.json")
PRIORITY_OF_KSERVES_OWN = 2
GRACE_S = 30
"""Between SIGTERM and SIGKILL, where a pod says nothing else."""


def settings() -> ServerSettings:
    """Return the settings of a server that KServe starts for the service `flowers`."""
    parsed = parse_flags(kserve_runtime.arguments("flowers"))
    assert (parsed.outcome, parsed.warnings) == (ArgumentsOutcome.START, ())
    assert parsed.settings is not None
    return parsed.settings


def check(document: dict[str, Any]) -> None:
    jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text())).validate(document)


def test_the_runtime_fits_the_schema_of_kserves_api() -> None:
    """Every field exists there, with this type."""
    check(kserve_runtime.document())


@pytest.mark.parametrize("path", ["spec", "spec/containers/0", "spec/containers/0/securityContext", "spec/volumes/0"])
def test_a_field_that_kserve_does_not_have_is_found(path: str) -> None:
    """A cluster would drop it without a word: a misspelt probe would be no probe."""
    document = deepcopy(kserve_runtime.document())
    place: Any = document
    for step in path.split("/"):
        place = place[int(step) if step.isdigit() else step]
    place["readynessProbe"] = {}

    with pytest.raises(jsonschema.ValidationError, match="readynessProbe"):
        check(document)


def test_kserve_chooses_the_runtime_before_its_own() -> None:
    """A priority that another runtime of the format has is refused by KServe, and all of a format's must be the same."""
    formats = kserve_runtime.document()["spec"]["supportedModelFormats"]

    assert {(one["name"], one["version"], one["autoSelect"]) for one in formats} == {
        ("tensorflow", "1", True),
        ("tensorflow", "2", True),
    }
    (priority,) = {one["priority"] for one in formats}
    assert priority > PRIORITY_OF_KSERVES_OWN


def test_the_runtime_says_all_four_protocols() -> None:
    """Both protocols are on both ports."""
    assert kserve_runtime.document()["spec"]["protocolVersions"] == ["v1", "v2", "grpc-v1", "grpc-v2"]


def test_the_arguments_of_the_runtime_start_a_server() -> None:
    """They are flags, none is without effect, and the model has the name of the service."""
    source = settings().source

    assert (source.model_name, source.model_base_path) == ("flowers", "/mnt/models")
    assert kserve_runtime.container()["command"] == ["ray_model_server"]


def test_probes_and_metrics_ask_the_rest_port() -> None:
    """Readiness is `/readyz`: `/healthz` says only that the process answers."""
    container = kserve_runtime.container()
    port = settings().front_door.rest_port
    probes = {name: container[f"{name}Probe"]["httpGet"] for name in ("startup", "liveness", "readiness")}
    annotations = kserve_runtime.document()["spec"]["annotations"]

    assert {name: one["path"] for name, one in probes.items()} == {
        "startup": "/healthz",
        "liveness": "/healthz",
        "readiness": "/readyz",
    }
    assert {one["port"] for one in probes.values()} == {port}
    assert annotations["prometheus.kserve.io/port"] == str(port)
    assert annotations["prometheus.kserve.io/path"] == MonitoringConfig().prometheus_path


def test_the_server_drains_before_the_pod_is_killed() -> None:
    """It ends some two seconds after the last request."""
    assert settings().front_door.drain_timeout_s + 5 <= GRACE_S


def test_the_container_is_allowed_what_the_restricted_standard_allows() -> None:
    """Kubernetes' Pod Security Standard `restricted`, and a root that cannot be written to."""
    allowed = kserve_runtime.container()["securityContext"]

    assert allowed["runAsNonRoot"] is True
    assert allowed["runAsUser"] > 0
    assert allowed["allowPrivilegeEscalation"] is False
    assert allowed["readOnlyRootFilesystem"] is True
    assert allowed["capabilities"] == {"drop": ["ALL"]}
    assert allowed["seccompProfile"] == {"type": "RuntimeDefault"}


def test_ray_has_a_folder_to_write_to() -> None:
    """Its session lies there, and its object store, for which the 64 MiB of `/dev/shm` are too small."""
    container = kserve_runtime.container()
    volumes = {one["name"]: one["emptyDir"] for one in kserve_runtime.document()["spec"]["volumes"]}
    mounted = {one["mountPath"]: volumes[one["name"]] for one in container["volumeMounts"]}
    environment = {one["name"]: one["value"] for one in container["env"]}

    assert mounted == {"/tmp": {}}, "a disk without a limit of its own"
    assert {environment["TMPDIR"], environment["HOME"]} == set(mounted)


def test_the_services_of_the_guide_name_this_runtime() -> None:
    """Each is an InferenceService with a model of the format `tensorflow`, by a protocol that the runtime has."""
    guide = (ROOT / "docs" / "open_inference_protocol.md").read_text(encoding="utf-8")
    services = [yaml.safe_load(block) for block in re.findall(r"^```yaml\n(.*?)^```", guide, re.MULTILINE | re.DOTALL)]

    assert services
    for one in services:
        model = one["spec"]["predictor"]["model"]
        assert (one["apiVersion"], one["kind"]) == ("serving.kserve.io/v1beta1", "InferenceService")
        assert model["runtime"] == kserve_runtime.document()["metadata"]["name"]
        assert model["modelFormat"]["name"] == "tensorflow"
        assert model["protocolVersion"] in kserve_runtime.document()["spec"]["protocolVersions"]
