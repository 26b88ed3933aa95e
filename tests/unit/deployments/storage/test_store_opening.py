"""S3 is found by TensorFlow's variables too, and every error names the endpoint that was asked."""

from __future__ import annotations

import pytest

from deployments.storage.remote_store import FsspecStore
from deployments.storage.store_opening import asked_endpoint, open_store
from tests.support.clients import free_port
from tests.support.stores.object_store import Bucket


@pytest.fixture
def tensorflow_variables(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    """The bucket, for a process that has TensorFlow's variables for endpoint and region, and none of AWS's."""
    for name in ("AWS_ENDPOINT_URL", "AWS_REGION"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("S3_ENDPOINT", bucket.proxy.url.removeprefix("http://"))
    monkeypatch.setenv("S3_USE_HTTPS", "0")
    monkeypatch.setenv("S3_REGION", "eu-south-2")
    bucket.put("m/1/saved_model.pb", b"model")
    return bucket


def test_a_store_is_found_by_variables_of_tensorflow(tensorflow_variables: Bucket) -> None:
    """Endpoint, scheme and region come from them."""
    bucket = tensorflow_variables

    assert set(FsspecStore().list_files(bucket.url("m"))) == {"1/saved_model.pb"}

    (seen,) = bucket.proxy.seen
    assert "/eu-south-2/s3/" in seen.headers["authorization"]


def test_variables_of_aws_win(tensorflow_variables: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that has both is configured for AWS's libraries."""
    bucket = tensorflow_variables
    monkeypatch.setenv("S3_ENDPOINT", f"127.0.0.1:{free_port()}")
    monkeypatch.setenv("AWS_ENDPOINT_URL", bucket.proxy.url)
    monkeypatch.setenv("AWS_REGION", "eu-north-1")

    assert set(FsspecStore().list_files(bucket.url("m"))) == {"1/saved_model.pb"}

    (seen,) = bucket.proxy.seen
    assert "/eu-north-1/s3/" in seen.headers["authorization"]


def test_a_profile_of_aws_wins(tensorflow_variables: Bucket, monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    """So does an endpoint among the services of its configuration file."""
    bucket = tensorflow_variables
    (tmp_path / "config").write_text(
        f"[default]\nregion = eu-west-3\nservices = own\n[services own]\ns3 =\n  endpoint_url = {bucket.proxy.url}\n"
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("S3_ENDPOINT", f"127.0.0.1:{free_port()}")

    assert set(FsspecStore().list_files(bucket.url("m"))) == {"1/saved_model.pb"}

    (seen,) = bucket.proxy.seen
    assert "/eu-west-3/s3/" in seen.headers["authorization"]


def test_the_endpoint_is_known_after_the_first_request(bucket: Bucket) -> None:
    """A store that was opened only has asked nobody."""
    store = open_store(bucket.url("m"))
    before = asked_endpoint(store)
    bucket.put("m/1/f", b"content")
    store.exists(f"{bucket.name}/m/1/f")

    assert (before, asked_endpoint(store)) == ("", bucket.proxy.url)


def test_other_stores_have_no_endpoint() -> None:
    """Their URL says where they are."""
    assert asked_endpoint(open_store("memory://m")) == ""
