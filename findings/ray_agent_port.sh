#!/usr/bin/env bash
# Versions: ray 2.60.0.
# Behaviour: the agent of every Ray listens on port 52365 unless told otherwise, also where `ray.init` chooses all its other
#   ports. On a machine with two, the agent of the second one goes on without its HTTP server, nothing says so, and the
#   dashboard of the second one answers questions about logs with 500, while its pages work.
# Output seen:
#   first Ray: logs 200; second Ray: logs 500, nodes 200
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet "ray[default]==2.60.0"
export RAY_AUTH_MODE=disabled RAY_USAGE_STATS_ENABLED=0

"$folder/venv/bin/python" - "$folder" <<'PYTHON' 2>"$folder/log"
import json
import subprocess
import sys
import time
import urllib.error
import urllib.request

RAY = """
import sys
import ray
context = ray.init(address="local", num_cpus=1, include_dashboard=True, log_to_driver=False, _temp_dir=sys.argv[1])
print(context.dashboard_url, ray.get_runtime_context().get_node_id(), flush=True)
sys.stdin.read()
ray.shutdown()
"""


def started(name):
    command = [sys.executable, "-c", RAY, f"{sys.argv[1]}/{name}"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    return process, *process.stdout.readline().split()


def status(address, path):
    try:
        with urllib.request.urlopen(f"http://{address}/{path}", timeout=60) as answer:
            json.load(answer)
            return answer.status
    except urllib.error.HTTPError as refused:
        return refused.code


rays = [started("1"), started("2")]
ends_s = time.monotonic() + 30
logs = [[], []]
while time.monotonic() < ends_s and logs[0][-1:] != [200]:
    logs = [[*seen, status(url, f"api/v0/logs?node_id={node}")] for seen, (_, url, node) in zip(logs, rays)]
    time.sleep(1)
nodes = status(rays[1][1], "api/v0/nodes")
print(f"first Ray: logs {logs[0][-1]}; second Ray: logs {logs[1][-1]}, nodes {nodes}", flush=True)
for process, _, _ in rays:
    process.communicate()
sys.exit((logs[0][-1], logs[1][-1], nodes) != (200, 500, 200))
PYTHON
