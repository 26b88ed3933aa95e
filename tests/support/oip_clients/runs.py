"""Runs of the clients' programs, each in its environment and once for all tests that ask for it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.support.client_environments import OIP_CLIENTS, STOCK_CLIENT, SUPPORT, run_client
from tests.support.oip_clients.cases import as_json
from tests.support.project import ROOT

PROGRAMS = {
    "triton": "triton_client.py",
    "kserve": "kserve_sdk.py",
    "open_inference_grpc": "open_inference_rpc.py",
    "open_inference_openapi": "open_inference_rest.py",
    "node": "node/client.cjs",
    STOCK_CLIENT.name: "stock_predict.py",
}
"""By the name of the environment."""


@dataclass
class ClientRuns:
    """What the programs told of one server; `folder` is for the files that they read."""

    cache: Path
    rest: str
    grpc: str
    folder: Path
    _told: dict[str, dict[str, Any]] = field(default_factory=dict)
    _failed: dict[str, Exception] = field(default_factory=dict)

    def told(self, client: str) -> dict[str, Any]:
        """Return what a client's program told; one that failed is not tried again."""
        if client in self._failed:
            raise self._failed[client]
        if client not in self._told:
            try:
                self._told[client] = self._run(client)
            except Exception as error:
                self._failed[client] = error
                raise
        return self._told[client]

    def different(self, client: str, letter: str) -> list[str]:
        """Return what differed in one case, of which something was compared."""
        found = self.told(client)[letter]
        assert found["compared"] or found["different"]
        return list(found["different"])

    def _run(self, client: str) -> dict[str, Any]:
        environment = next(one for one in (STOCK_CLIENT, *OIP_CLIENTS) if one.name == client)
        if environment.lacks():
            pytest.skip(f"needs {environment.lacks()}")
        program = SUPPORT / "oip_clients" / PROGRAMS[client]
        files = self._files() if client == "node" else ()
        return run_client(environment.made(self.cache), program, [self.rest, self.grpc, *files])

    def _files(self) -> tuple[Path, Path]:
        """Write our messages by the names that clients know, and the cases."""
        messages, cases = self.folder / "inference.proto", self.folder / "cases.json"
        own = (ROOT / "core" / "protos" / "oip.proto").read_text(encoding="utf-8")
        messages.write_text(own.replace("package ray_model_server.inference;", "package inference;"), encoding="utf-8")
        cases.write_text(as_json(), encoding="utf-8")
        return messages, cases
