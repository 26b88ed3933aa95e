"""The runtime for KServe in `configs/kserve`, as KServe would start it for a service."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from tests.support.project import ROOT

RUNTIME = ROOT / "configs" / "kserve" / "clusterservingruntime.yaml"
NAME = "{{.Name}}"
"""KServe puts the name of the service in its place."""


def document() -> dict[str, Any]:
    """Return the file's only document."""
    read: dict[str, Any] = yaml.safe_load(RUNTIME.read_text(encoding="utf-8"))
    return read


def container() -> dict[str, Any]:
    """Return the only container."""
    (only,) = document()["spec"]["containers"]
    return dict(only)


def arguments(service: str, changed: Mapping[str, object] | None = None) -> Sequence[str]:
    """Return the arguments for a service; `changed` replaces the values of flags that the file gives."""
    given = dict(one.removeprefix("--").split("=", 1) for one in container()["args"])
    values = given | {name: str(value) for name, value in (changed or {}).items() if name in given}
    return [f"--{name}={value.replace(NAME, service)}" for name, value in values.items()]
