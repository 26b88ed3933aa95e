"""The light Python client under the name that it had here: a package of its own has it, see `clients/python`."""

from __future__ import annotations

try:
    from ray_model_client import AsyncClient, Client
except ImportError as error:
    raise ImportError(
        "The client is a package of its own: pip install clients/python, in a checkout of this project"
    ) from error

__all__ = ["AsyncClient", "Client"]
