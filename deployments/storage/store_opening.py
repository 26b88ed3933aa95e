"""Opens stores through fsspec; those of S3 with AWS's settings, or TensorFlow's variables where AWS's are absent."""

from __future__ import annotations

import importlib
import os
from typing import Any

import fsspec

from core.storage.s3_options import AwsConfigured, s3_options
from core.storage.store_errors import UNKNOWN_STORE, Symptoms, storage_failed

S3_SCHEMES = ("s3://", "s3a://")
S3_CONNECTIONS = 32


def open_store(url: str) -> Any:
    """Open the store of a URL without fsspec's cache, which holds one for each thread; raises StorageFailed.

    Retries are left to `RetryingStore`, which has the same for all kinds of stores.
    """
    options: dict[str, Any] = {"use_listings_cache": False, "skip_instance_cache": True}
    if url.startswith(S3_SCHEMES):
        options |= _s3_arguments()
    try:
        store, _ = fsspec.core.url_to_fs(url, **options)
    except ValueError as error:
        raise storage_failed(Symptoms(frozenset({UNKNOWN_STORE}), text=str(error)), url) from error
    if is_s3(store):
        store.retries = 1
    return store


def is_s3(store: Any) -> bool:
    """Whether a store of fsspec speaks S3."""
    return hasattr(store, "call_s3")


def asked_endpoint(store: Any) -> str:
    """Return the URL that an S3 store sends its requests to; empty before the first request, and for other stores."""
    client = getattr(store, "_s3", None)
    return str(client.meta.endpoint_url) if client is not None else ""


def _s3_arguments() -> dict[str, Any]:
    """Return the arguments of fsspec's S3 store; botocore does not retry, because we do."""
    options = s3_options(os.environ, _configured())
    client = {
        "connect_timeout": options.connect_timeout_s,
        "read_timeout": options.read_timeout_s,
        "max_pool_connections": S3_CONNECTIONS,
        "retries": {"total_max_attempts": 1},
    }
    return {"config_kwargs": client, "client_kwargs": dict(options.client), "use_ssl": options.use_ssl}


def _configured() -> AwsConfigured:
    """Read AWS's settings by its own library, which belongs to the S3 store and is found by name like that."""
    session = importlib.import_module("aiobotocore.session").AioSession()
    found = (session.get_config_variable(name) for name in ("region", "ca_bundle"))
    region, ca_bundle = (str(one or "") for one in found)
    profile = session.get_scoped_config()
    services = session.full_config.get("services", {}).get(profile.get("services", ""), {})
    endpoint = services.get("s3", {}).get("endpoint_url") or profile.get("endpoint_url") or ""
    return AwsConfigured(region, str(endpoint), ca_bundle)
