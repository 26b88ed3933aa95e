#!/usr/bin/env bash
# Versions: prometheus-client 0.26.0.
# Behaviour: the OpenMetrics exposition writes the colons of a metric's name as underscores in its samples, and keeps
#   them in its HELP and TYPE lines, though colons are valid in names of OpenMetrics. The samples belong to no family that
#   is declared, and have another name than in the text exposition of the same registry.
# Output seen:
#   # TYPE jobs:queued gauge
#   jobs_queued 2.0
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet prometheus-client==0.26.0
"$folder/venv/bin/python" - <<'PROGRAM'
from prometheus_client import CollectorRegistry, Gauge, exposition
from prometheus_client.openmetrics import exposition as openmetrics

registry = CollectorRegistry()
Gauge("jobs:queued", "Jobs that wait.", registry=registry).set(2)
written = openmetrics.generate_latest(registry).decode()
print(written)
assert "# TYPE jobs:queued gauge\njobs_queued 2.0\n" in written, "the OpenMetrics exposition has changed"
assert "# TYPE jobs:queued gauge\njobs:queued 2.0\n" in exposition.generate_latest(registry).decode(), "so has the text"
PROGRAM
