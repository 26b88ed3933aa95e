"""A program may have this server and clients of the protocol in one process: protobuf has one pool for all of them."""

from __future__ import annotations

import subprocess
import sys

from tests.support.project import ROOT

PROGRAM = """
import importlib, pkgutil
import core, deployments

for package in (core, deployments):
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        importlib.import_module(module.name)

from google.protobuf import descriptor_pool
from core.grpc.reflection import descriptor_files, reflection_pool

reflection_pool()
[theirs] = [file for file in descriptor_files() if file.package == "inference"]
theirs.name = "grpc_service.proto"
pool = descriptor_pool.Default()
names = [f"inference.{one.name}" for one in (*theirs.message_type, *theirs.service)]
assert "inference.ModelInferRequest" in names
for name in names:
    try:
        pool.FindFileContainingSymbol(name)
    except KeyError:
        continue
    raise SystemExit(f"{name} is registered")
pool.AddSerializedFile(theirs.SerializeToString())
print(pool.FindMessageTypeByName("inference.ModelInferRequest").file.name)
"""


def test_nothing_that_clients_register_is_in_protobufs_default_pool() -> None:
    """Neither after importing all of the server, nor after describing it; a client's own file fits in."""
    command = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True, timeout=240)

    assert (done.stdout.strip(), done.returncode) == ("grpc_service.proto", 0), done.stderr
