"""Options of an S3 client: AWS's own settings, or TensorFlow's variables (as `S3_ENDPOINT`) where AWS's are absent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from core.errors import Code
from core.storage.store_errors import StorageFailed

AWS_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
IGNORE_AWS_ENDPOINTS = "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"
CONNECT_TIMEOUT_S = 5.0
READ_TIMEOUT_S = 20.0


@dataclass(frozen=True, slots=True)
class AwsConfigured:
    """The settings that AWS's configuration files and variables give for S3; empty where they give none."""

    region: str = ""
    endpoint: str = ""
    ca_bundle: str = ""


@dataclass(frozen=True, slots=True)
class S3Options:
    """Arguments of the client, and whether a connection without an endpoint of its own is encrypted.

    `client` holds `region_name`, `endpoint_url` and `verify` as far as they replace what AWS's libraries find by
    themselves; the timeouts are in seconds.
    """

    client: Mapping[str, str | bool] = field(default_factory=dict)
    use_ssl: bool = True
    connect_timeout_s: float = CONNECT_TIMEOUT_S
    read_timeout_s: float = READ_TIMEOUT_S


def s3_options(environment: Mapping[str, str], configured: AwsConfigured) -> S3Options:
    """Return the options that follow from environment variables (TensorFlow I/O, S3 file system).

    `AWS_REGION` counts before `AWS_DEFAULT_REGION`, which is the only one that botocore reads. Raises StorageFailed
    for a timeout that is not a number.
    """
    uses_tls = not environment.get("S3_USE_HTTPS", "1").startswith("0")
    chosen = {
        "region_name": _region(environment, configured),
        "endpoint_url": _endpoint(environment, configured, uses_tls=uses_tls),
        "verify": _verify(environment, configured),
    }
    return S3Options(
        {name: value for name, value in chosen.items() if value not in ("", None)},
        uses_tls,
        _seconds(environment, "S3_CONNECT_TIMEOUT_MSEC", CONNECT_TIMEOUT_S),
        _seconds(environment, "S3_REQUEST_TIMEOUT_MSEC", READ_TIMEOUT_S),
    )


def _region(environment: Mapping[str, str], configured: AwsConfigured) -> str:
    own = environment.get("AWS_REGION", "")
    return own or ("" if configured.region else environment.get("S3_REGION", ""))


def _endpoint(environment: Mapping[str, str], configured: AwsConfigured, *, uses_tls: bool) -> str:
    """Return TensorFlow's endpoint as a URL; empty where AWS's is set, or neither."""
    ignores_aws = environment.get(IGNORE_AWS_ENDPOINTS, "").lower() == "true"
    aws = configured.endpoint or any(environment.get(name) for name in AWS_ENDPOINTS)
    given = environment.get("S3_ENDPOINT", "")
    if not given or (aws and not ignores_aws):
        return ""
    return given if "://" in given else f"{'https' if uses_tls else 'http'}://{given}"


def _verify(environment: Mapping[str, str], configured: AwsConfigured) -> str | bool | None:
    if environment.get("AWS_CA_BUNDLE") or configured.ca_bundle:
        return None
    if environment.get("S3_VERIFY_SSL", "1").startswith("0"):
        return False
    return environment.get("S3_CA_FILE") or None


def _seconds(environment: Mapping[str, str], name: str, default: float) -> float:
    text = environment.get(name, "")
    if not text:
        return default
    if not text.isdecimal() or not int(text):
        raise StorageFailed(Code.INVALID_ARGUMENT, f"{name}={text} is not a number of milliseconds")
    return int(text) / 1000
