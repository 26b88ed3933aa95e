"""An S3 on a host of its own, whose log tells who read what.

`python -m tests.support.stores.network_store ADDRESS PORT FOLDER` puts the folder's files into the bucket and serves until
its input ends.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import boto3
from moto.server import ThreadedMotoServer

from tests.support.clients import wait_until
from tests.support.network_hosts import Host
from tests.support.stores.fault_proxy import CREDENTIALS, REGION, environment

BUCKET = "models"
PORT = 9000
START_TIMEOUT_S = 60.0
READY = b"the folder is in the bucket"
COLOURS = re.compile(rb"\x1b\[\d+m")
READ = re.compile(rb'^(\S+) .*"GET /' + BUCKET.encode() + rb'/([^? ]+) HTTP/1.1" 20\d', re.MULTILINE)


class NetworkStore:
    """The store, as seen by the tests."""

    def __init__(self, host: Host, folder: Path) -> None:
        """Start it with what is in a folder; it ends with its host."""
        self._log = host.folder / "store.log"
        self.environment = environment(f"http://{host.address}:{PORT}")
        command = [sys.executable, "-m", "tests.support.stores.network_store", host.address, str(PORT), str(folder)]
        with self._log.open("wb") as output:
            self._process = host.start(command, output=output, stdin=subprocess.PIPE)
        wait_until(lambda: READY in self._log.read_bytes(), "the store is up", START_TIMEOUT_S)

    def reads(self) -> Counter[tuple[str, str]]:
        """Count the reads of objects, by the address that asked and by object."""
        found = READ.findall(COLOURS.sub(b"", self._log.read_bytes()))
        return Counter((address.decode(), path.decode()) for address, path in found)


def main() -> None:
    """Serve until the input ends."""
    address, port, folder = sys.argv[1:]
    server = ThreadedMotoServer(ip_address=address, port=int(port), verbose=True)
    server.start()
    keys = {
        "aws_access_key_id": CREDENTIALS["AWS_ACCESS_KEY_ID"],
        "aws_secret_access_key": CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
    }
    client = boto3.client("s3", endpoint_url=f"http://{address}:{port}", region_name=REGION, **keys)
    client.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
    for file in sorted(one for one in Path(folder).rglob("*") if one.is_file()):
        client.put_object(Bucket=BUCKET, Key=str(file.relative_to(folder)), Body=file.read_bytes())
    sys.stderr.buffer.write(READY + b"\n")
    sys.stderr.buffer.flush()
    sys.stdin.read()
    server.stop()


if __name__ == "__main__":
    main()
