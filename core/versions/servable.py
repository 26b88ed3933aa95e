"""Names: which model and version, and what its Serve application is called."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from urllib.parse import quote

DEPLOYMENT = "ModelServer"
"""The name of the only deployment in a version's application."""

LONGEST_NAME_IN_APP = 100
"""Characters of an encoded model name that an application name keeps; file names of logs are made from it."""


@dataclass(frozen=True, slots=True, order=True)
class ServableId:
    """One version of one model."""

    name: str
    version: int

    def __str__(self) -> str:
        return f"{{name: {self.name} version: {self.version}}}"


def app_name(servable: ServableId) -> str:
    """Name the Serve application of a version, `model:version`.

    Every character that Ray, file systems or URLs may stumble over is percent-encoded, and a name that would be too
    long for a file name is cut and made unique by a digest, so the mapping is injective in practice but not reversible.
    """
    encoded = quote(servable.name, safe="")
    if len(encoded) > LONGEST_NAME_IN_APP:
        digest = hashlib.sha256(servable.name.encode()).hexdigest()[:16]
        encoded = f"{encoded[:LONGEST_NAME_IN_APP]}~{digest}"
    return f"{encoded}:{servable.version}"
