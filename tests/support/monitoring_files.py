"""The queries of the dashboard and of the alert rules."""

from __future__ import annotations

import json
from typing import Any

import yaml

from tests.support.project import ROOT

CONFIGS = ROOT / "configs"
DASHBOARD = CONFIGS / "grafana" / "ray_model_server.json"
RULES = CONFIGS / "prometheus" / "alerts.yaml"


def panels() -> list[dict[str, Any]]:
    """Return the panels that show something."""
    return [one for one in json.loads(DASHBOARD.read_text())["panels"] if one["type"] != "row"]


def panel_queries(window: str = "5m") -> dict[str, str]:
    """Return the queries of all panels by title and letter, as Grafana would ask them for everything."""
    return {
        f"{panel['title']} {target['refId']}": target["expr"]
        .replace("$__rate_interval", window)
        .replace("$job", ".*")
        .replace("$model", ".*")
        for panel in panels()
        for target in panel["targets"]
    }


def rules() -> list[dict[str, Any]]:
    """Return the alert rules."""
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]
