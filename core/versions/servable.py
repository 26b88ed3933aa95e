"""The identity of a version, and the name of its Serve application."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import quote

DEPLOYMENT = "ModelServer"
"""The name of the only deployment in a version's application."""

LONGEST_NAME_IN_APP = 100
"""Characters of an encoded model name that an application name keeps; file names of logs are made from it."""

NAMES_KEPT = 4096
"""Models whose encoded names are kept: the watcher asks for all of them in every tick."""

_NUMBER = re.compile(r"0|[1-9][0-9]*", re.ASCII)


@dataclass(frozen=True, slots=True, order=True)
class ServableId:
    """One version of one model."""

    name: str
    version: int

    def __str__(self) -> str:
        return f"{{name: {self.name} version: {self.version}}}"


def app_name(servable: ServableId) -> str:
    """Return the name of a version's Serve application, `model:version`.

    Every character that Ray, file systems or URLs may stumble over is percent-encoded, and a name that would be too
    long for a file name is cut and made unique by a digest, so the mapping is injective in practice but not reversible.
    """
    return f"{_encoded(servable.name)}:{servable.version}"


def servables_of(apps: Iterable[str], models: Iterable[str]) -> dict[str, ServableId]:
    """Return the version of each application that belongs to one of the models; the others are left out."""
    names = {_encoded(name): name for name in models}
    parts = ((app, *app.rpartition(":")[::2]) for app in apps)
    return {
        app: ServableId(names[encoded], int(number))
        for app, encoded, number in parts
        if encoded in names and _NUMBER.fullmatch(number)
    }


@lru_cache(maxsize=NAMES_KEPT)
def _encoded(model: str) -> str:
    encoded = quote(model, safe="")
    if len(encoded) <= LONGEST_NAME_IN_APP:
        return encoded
    digest = hashlib.sha256(model.encode()).hexdigest()[:16]
    return f"{encoded[:LONGEST_NAME_IN_APP]}~{digest}"
