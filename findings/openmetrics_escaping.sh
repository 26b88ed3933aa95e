#!/usr/bin/env bash
# Versions: prometheus-client 0.26.0.
# Behaviour: asked for OpenMetrics with the escaping scheme `values`, which leaves valid names as they are, the library puts
#   U__ before the names of samples and not before those in HELP and TYPE. With `dots` it escapes the whole name of a
#   sample, so that _bucket becomes __bucket, the suffix of no histogram. The text format does the first one right.
# Output seen:
#   # TYPE job_size histogram
#   U__job__size__bucket{le="1.0"} 1.0
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet prometheus-client==0.26.0
"$folder/venv/bin/python" - <<'PROGRAM'
from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.exposition import choose_encoder

registry = CollectorRegistry()
Histogram("job_size", "Sizes of jobs.", buckets=(1.0,), registry=registry).observe(0.5)


def written(accept: str) -> str:
    encoder, content_type = choose_encoder(accept)
    text = encoder(registry).decode()
    print(content_type, text, sep="\n")
    return text


values = written("application/openmetrics-text;version=1.0.0;escaping=values")
dots = written("application/openmetrics-text;version=1.0.0;escaping=dots")
text = written("text/plain;version=1.0.0;escaping=values")
assert "# TYPE job_size histogram\nU__job__size__bucket{" in values, "values has changed"
assert "# TYPE job__size histogram\njob__size__bucket{" in dots, "dots has changed"
assert "# TYPE job_size histogram\njob_size_bucket{" in text, "so has the text"
PROGRAM
