#!/usr/bin/env bash
# Versions: ray 2.60.0.
# Behaviour: `serve.status()` validates the whole schema of every deployment, with its request router class imported and
#   pickled anew, in the caller: some milliseconds of processor time for each application. The question that Serve's own
#   client asks while it waits for applications has the same statuses and messages for a hundredth of that.
# Output seen:
#   20 applications: serve.status() 105.6 ms, list_serve_statuses() 0.6 ms of the caller
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet ray[serve]==2.60.0
export RAY_AUTH_MODE=disabled RAY_USAGE_STATS_ENABLED=0

"$folder/venv/bin/python" - "$folder/ray" <<'PYTHON' 2>"$folder/log"
import sys
import time

import ray
from ray import serve
from ray.serve.context import _get_global_client

COUNT = 20
ray.init(num_cpus=2, include_dashboard=False, _temp_dir=sys.argv[1], log_to_driver=False)
serve.start(proxy_location="Disabled")


@serve.deployment(autoscaling_config={"min_replicas": 0, "initial_replicas": 0, "max_replicas": 1})
class Nothing:
    """Needs no process."""


def cost_ms(ask):
    ask()
    began_s = time.process_time()
    for _ in range(10):
        ask()
    return (time.process_time() - began_s) * 100


targets = [serve.RunTarget(target=Nothing.bind(), name=f"app{number}", route_prefix=None) for number in range(COUNT)]
serve.run_many(targets, wait_for_ingress_deployment_creation=False, wait_for_applications_running=False)
client = _get_global_client()
wanted = {name: (one.status, one.message) for name, one in serve.status().applications.items()}
found = {one.name: (one.app_status.status, one.app_status.message) for one in client.list_serve_statuses()}
whole, cheap = cost_ms(serve.status), cost_ms(client.list_serve_statuses)
print(
    f"{COUNT} applications: serve.status() {whole:.1f} ms, list_serve_statuses() {cheap:.1f} ms of the caller", flush=True
)
serve.shutdown()
ray.shutdown()
sys.exit(not (wanted.keys() == found.keys() and whole > 20 * cheap))
PYTHON
