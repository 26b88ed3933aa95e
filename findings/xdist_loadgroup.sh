#!/usr/bin/env bash
# Versions: pytest-xdist 3.8.0 with pytest 9.2.0; with pytest 9.1.1 it is not so.
# Behaviour: `--dist loadgroup` ignores the mark `xdist_group`: tests of one group run in several workers. xdist writes the
#   group behind the node id of each test in the workers, and with pytest 9.2.0 that end does not reach the scheduler.
# Output seen:
#   pytest 9.1.1: the group ran in 1 worker(s)
#   pytest 9.2.0: the group ran in 2 worker(s)
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
mkdir "$folder/suite"
cat > "$folder/suite/test_group.py" <<'SUITE'
import os
import pathlib
import time

import pytest


@pytest.mark.xdist_group("one")
@pytest.mark.parametrize("number", range(12))
def test_of_the_group(number, worker_id):
    pathlib.Path(os.environ["WORKERS"], worker_id).touch()
    time.sleep(0.1)  # long enough for the other worker to take part
SUITE

# Prints how many workers ran the tests of the group with a version of pytest.
workers_with() {
  "$folder/venv/bin/pip" install --quiet "pytest==$1" pytest-xdist==3.8.0
  mkdir "$folder/workers-$1"
  (cd "$folder/suite" && WORKERS="$folder/workers-$1" "$folder/venv/bin/pytest" -q -n 2 --dist loadgroup >&2)
  find "$folder/workers-$1" -type f | wc -l
}

before=$(workers_with 9.1.1)
after=$(workers_with 9.2.0)
echo "pytest 9.1.1: the group ran in $before worker(s)"
echo "pytest 9.2.0: the group ran in $after worker(s)"
[ "$before" -eq 1 ] && [ "$after" -eq 2 ]
