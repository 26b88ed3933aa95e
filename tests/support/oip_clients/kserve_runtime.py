"""Read a ClusterServingRuntime with the classes of KServe's SDK and of Kubernetes' client, and tell what they lack.

Runs in the environment of KServe's client: python kserve_runtime.py FILE.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import kserve
import yaml
from kubernetes.client import V1Container, V1Volume

PARTS = {"containers": V1Container, "volumes": V1Volume}


def unknown(place: dict[str, Any], kind: Any) -> list[str]:
    """Return the members that a class of the SDK does not have."""
    return sorted(set(place) - set(kind.attribute_map.values()))


def told(document: dict[str, Any]) -> dict[str, Any]:
    """Return unknown members, and parts that come back otherwise than they were read."""
    spec = document["spec"]
    formats = [unknown(one, kserve.V1alpha1SupportedModelFormat) for one in spec["supportedModelFormats"]]
    changed = [
        one for key, kind in PARTS.items() for one in spec[key] if json.loads(kind.from_dict(one).to_json()) != one
    ]
    return {
        "unknown": [
            *unknown(document, kserve.V1alpha1ClusterServingRuntime),
            *unknown(spec, kserve.V1alpha1ServingRuntimeSpec),
            *(name for names in formats for name in names),
        ],
        "changed": changed,
        "read": sum(len(spec[key]) for key in PARTS),
    }


print(json.dumps(told(yaml.safe_load(Path(sys.argv[1]).read_text(encoding="utf-8")))))
