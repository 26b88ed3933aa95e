"""S3's endpoint, region and certificates: AWS's settings come first, TensorFlow's variables stand in for them."""

from __future__ import annotations

import pytest

from core.errors import Code
from core.storage.s3_options import AwsConfigured, S3Options, s3_options
from core.storage.store_errors import StorageFailed

NOTHING = AwsConfigured()
FILES = AwsConfigured("eu-west-1", "http://files:1", "/files.pem")


@pytest.mark.parametrize(
    ("environment", "configured", "client"),
    [
        pytest.param({}, NOTHING, {}, id="nothing"),
        pytest.param({"S3_ENDPOINT": "minio:9000"}, NOTHING, {"endpoint_url": "https://minio:9000"}, id="https"),
        pytest.param(
            {"S3_ENDPOINT": "minio:9000", "S3_USE_HTTPS": "0"},
            NOTHING,
            {"endpoint_url": "http://minio:9000"},
            id="http",
        ),
        pytest.param(
            {"S3_ENDPOINT": "http://minio", "S3_USE_HTTPS": "1"},
            NOTHING,
            {"endpoint_url": "http://minio"},
            id="own scheme",
        ),
        pytest.param({"S3_ENDPOINT": "minio", "AWS_ENDPOINT_URL": "http://aws"}, NOTHING, {}, id="AWS wins"),
        pytest.param(
            {"S3_ENDPOINT": "minio", "AWS_ENDPOINT_URL_S3": "http://aws"}, NOTHING, {}, id="AWS's for S3 wins"
        ),
        pytest.param(
            {"S3_ENDPOINT": "minio", "AWS_ENDPOINT_URL": ""}, NOTHING, {"endpoint_url": "https://minio"}, id="empty"
        ),
        pytest.param({"S3_ENDPOINT": "minio"}, FILES, {}, id="a profile wins"),
        pytest.param(
            {"S3_ENDPOINT": "minio", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true"},
            FILES,
            {"endpoint_url": "https://minio"},
            id="AWS's endpoints are ignored",
        ),
        pytest.param({"S3_REGION": "eu-central-1"}, NOTHING, {"region_name": "eu-central-1"}, id="region"),
        pytest.param({"S3_REGION": "eu-central-1"}, FILES, {}, id="region of a profile"),
        pytest.param(
            {"AWS_REGION": "us-east-2", "S3_REGION": "eu-central-1"},
            FILES,
            {"region_name": "us-east-2"},
            id="AWS_REGION",
        ),
        pytest.param({"S3_VERIFY_SSL": "0"}, NOTHING, {"verify": False}, id="unverified"),
        pytest.param({"S3_VERIFY_SSL": "1"}, NOTHING, {}, id="verified"),
        pytest.param({"S3_VERIFY_SSL": "0"}, FILES, {}, id="AWS's authorities"),
        pytest.param({"S3_VERIFY_SSL": "0", "AWS_CA_BUNDLE": "/ca"}, NOTHING, {}, id="AWS_CA_BUNDLE"),
        pytest.param({"S3_CA_FILE": "/ca.pem"}, NOTHING, {"verify": "/ca.pem"}, id="authorities"),
    ],
)
def test_aws_wins_and_variables_of_tensorflow_stand_in(environment, configured, client) -> None:
    """What AWS's variables and files say is left to AWS's library, and TensorFlow's variables fill the gaps."""
    assert s3_options(environment, configured).client == client


def test_without_an_endpoint_only_the_scheme_of_aws_changes() -> None:
    """`S3_USE_HTTPS=0` alone asks AWS without encryption."""
    assert s3_options({"S3_USE_HTTPS": "0"}, NOTHING) == S3Options(use_ssl=False)


def test_timeouts_are_in_milliseconds() -> None:
    """Both of TensorFlow's are read."""
    options = s3_options({"S3_CONNECT_TIMEOUT_MSEC": "1500", "S3_REQUEST_TIMEOUT_MSEC": "60000"}, NOTHING)

    assert (options.connect_timeout_s, options.read_timeout_s) == (1.5, 60.0)


@pytest.mark.parametrize("text", ["soon", "0", "-1", "1.5"])
def test_a_timeout_that_is_not_a_number_is_named(text: str) -> None:
    """The variable and its value are in the error."""
    with pytest.raises(StorageFailed, match=f"S3_REQUEST_TIMEOUT_MSEC={text}") as caught:
        s3_options({"S3_REQUEST_TIMEOUT_MSEC": text}, NOTHING)

    assert caught.value.code is Code.INVALID_ARGUMENT
