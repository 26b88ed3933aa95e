#!/usr/bin/env bash
# Versions: xprof 2.24.2 (TensorBoard's profile plug-in).
# Behaviour: xplane.proto says that XLine.timestamp_ns is the line's start in nanoseconds since the UNIX epoch. The trace
#   viewer shows an event of such a line at another time, without a warning: 1,700,000,000.25 s is shown as 2,899,545.47 s,
#   which is the time in picoseconds cut to 64 bits. Files whose lines are relative to the beginning of the recording, as
#   TensorFlow's own collection leaves them, are shown right.
# Output seen:
#   event at 1,700,000,000.25 s of the epoch, shown at (s): 2899545.4687212515
#   event at 0.25 s of the recording, shown at (s): 0.25
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet xprof==2.24.2
"$folder/venv/bin/python" - "$folder" <<'PROGRAM'
import json
import sys
from pathlib import Path

from xprof.convert import raw_to_tool_data


def number(field, value):
    return varint(field << 3) + varint(value)


def content(field, value):
    return varint(field << 3 | 2) + varint(len(value)) + value


def varint(value):
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes((*out, value))


def shown_s(name, timestamp_ns):
    event = number(1, 1) + number(2, 250_000_000_000) + number(3, 1_000_000)
    line = number(1, 1) + content(2, b"row") + number(3, timestamp_ns) + content(4, event)
    metadata = content(4, number(1, 1) + content(2, number(1, 1) + content(2, b"work")))
    file = Path(sys.argv[1], name, "host.xplane.pb")
    file.parent.mkdir()
    file.write_bytes(content(1, content(2, b"/host:CPU") + content(3, line) + metadata))
    trace, _ = raw_to_tool_data.xspace_to_tool_data([str(file)], "trace_viewer@", {})
    (event,) = (one for one in json.loads(trace)["traceEvents"] if one.get("name") == "work")
    return event["ts"] / 1e6


since_epoch, since_start = shown_s("epoch", 1_700_000_000_000_000_000), shown_s("start", 0)
print(f"event at 1,700,000,000.25 s of the epoch, shown at (s): {since_epoch}")
print(f"event at 0.25 s of the recording, shown at (s): {since_start}")
assert since_start == 0.25, "times that are relative are shown otherwise"
assert abs(since_epoch - 1_700_000_000.25) > 1, "times since the epoch are shown right now"
PROGRAM
