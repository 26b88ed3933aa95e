"""What a request of the Open Inference Protocol says about the model, and the version that answers it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from core.errors import InvalidArgument, NotFound, ServingError, Unavailable
from core.routing.table import Route, RoutingTable
from core.versions.lifecycle import State

VERSION_LABEL: Final = "version_label"
"""The parameter that names a label over gRPC, where no field does."""
LARGEST_VERSION: Final = 2**63 - 1
_VERSION: Final = re.compile(r"[0-9]{1,25}")
_COMING_AND_GOING: Final = frozenset({State.START, State.LOADING, State.UNLOADING})


@dataclass(frozen=True, slots=True)
class ModelReference:
    """A model's name, at most one of version and label, and a signature or "", where it is known."""

    name: str
    version: int | None = None
    label: str | None = None
    signature: str = ""


def model_reference(name: str, version: str = "", label: str | None = None) -> ModelReference:
    """Read the fields of a message; raises InvalidArgument for a version that is not a number, and for two choices."""
    if version and label is not None:
        raise InvalidArgument(f"model '{name}' is asked for by version '{version}' and by label '{label}' at once")
    if not version:
        return ModelReference(name, None, label)
    if _VERSION.fullmatch(version) is None or int(version) > LARGEST_VERSION:
        raise InvalidArgument(f"failed to get model version from specified version string '{version}'")
    return ModelReference(name, int(version))


def route_to(table: RoutingTable, asked: ModelReference) -> Route:
    """Return the route of the version that a reference means.

    Raises NotFound for an unknown model, version or label; Unavailable while the version comes or goes, or a version
    of the model that none was asked of.
    """
    try:
        return table.resolve(asked.name, asked.version, asked.label)
    except ServingError as error:
        raise unresolved(table, asked, error) from None


def unresolved(table: RoutingTable, asked: ModelReference, error: ServingError) -> ServingError:
    """Return this protocol's error for a reference that TensorFlow Serving's rules do not resolve, with `error`."""
    if isinstance(error, Unavailable):
        return error
    model = table.models.get(asked.name)
    if model is None:
        return NotFound(f"Request for unknown model: '{asked.name}' is not found")
    version = asked.version
    if asked.label is not None:
        version = model.version_of(asked.label)
        if version is None:
            return NotFound(f"Request for unknown model: '{asked.name}' label '{asked.label}' is not found")
    known = [one for one in model.statuses if version is None or one.version == version]
    if any(one.state in _COMING_AND_GOING for one in known):
        what = "" if version is None else f" version {version}"
        return Unavailable(f"Request for model '{asked.name}'{what} that is not ready")
    if version is None:
        return NotFound(f"Request for unknown model: '{asked.name}' has no available versions")
    return NotFound(f"Request for unknown model: '{asked.name}' version {version} is not found")
