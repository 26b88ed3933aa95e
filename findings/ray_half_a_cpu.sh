#!/usr/bin/env bash
# Versions: ray 2.60.0, Linux with unprivileged user namespaces.
# Behaviour: where a container may use less than one CPU (`docker run --cpus=0.5`, a pod's limit of 500m), Ray counts none,
#   so that no task that asks for a CPU ever runs. Its code means to round up ("in case the cpu limit is less than 1"),
#   but asks whether the quota is 0, and cuts 0.5 off to 0 later. 1.5 CPUs become 1.
# Output seen:
#   0.5 CPUs: Ray has None
#   1.0 CPUs: Ray has 1.0
#   1.5 CPUs: Ray has 1.0
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet ray==2.60.0
export RAY_AUTH_MODE=disabled RAY_USAGE_STATS_ENABLED=0

cat > "$folder/counted.py" <<'PYTHON'
import sys

import ray

ray.init(include_dashboard=False, _temp_dir=sys.argv[1], log_to_driver=False)
print(ray.cluster_resources().get("CPU"))
ray.shutdown()
PYTHON

counted() {
  # The kernel's files as a container with this limit sees them: microseconds of each tenth of a second.
  unshare --user --map-root-user --mount sh -c \
    'mount -t tmpfs limits /sys/fs/cgroup && echo "$3 100000" > /sys/fs/cgroup/cpu.max && "$0" "$1" "$2"' \
    "$folder/venv/bin/python" "$folder/counted.py" "$folder/ray" "$1" 2>> "$folder/log"
}

half=$(counted 50000) one=$(counted 100000) more=$(counted 150000)
printf '%s CPUs: Ray has %s\n' 0.5 "$half" 1.0 "$one" 1.5 "$more"
test "$half $one $more" = "None 1.0 1.0"
