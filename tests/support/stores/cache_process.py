"""A process that obtains a version from a cache, says where it lies, and holds it until its input ends.

`python -m tests.support.stores.cache_process FOLDER URL FINGERPRINT [MAX_BYTES]`; prints one line of JSON.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from core.errors import ServingError
from core.storage.retry_policy import RetryPolicy
from deployments.storage.remote_store import FsspecStore
from deployments.storage.version_cache import ModelCache, RemoteVersion


def main() -> None:
    """Do it."""
    folder, url, fingerprint, *rest = sys.argv[1:]
    max_bytes = int(rest[0]) if rest else 10**9
    cache = ModelCache(Path(folder), max_bytes, FsspecStore(), retries=RetryPolicy(4, 0.01, 0.05))
    try:
        lease = cache.obtain(RemoteVersion(url, fingerprint, "m"))
    except ServingError as error:
        print(json.dumps({"code": error.code.name, "error": str(error)}), flush=True)
        return
    print(json.dumps({"path": lease.path}), flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
