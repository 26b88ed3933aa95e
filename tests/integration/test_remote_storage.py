"""A model that lies in an object store, from its first version to the store's failure and return."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.conftest import LiveServer
from tests.support.clients import RestClient, free_port, wait_until
from tests.support.processes import version_pids
from tests.support.stores.fault_proxy import FaultProxy
from tests.support.stores.object_store import Bucket, s3_server

WORDS, IDS = ["zero", "two", "nobody"], [0, 2, -1]


@pytest.fixture
def bucket(store_proxy: FaultProxy) -> Iterator[Bucket]:
    """An S3 behind the session's proxy, with an empty bucket."""
    with s3_server() as port:
        store_proxy.target_port = port
        store_proxy.forget()
        yield Bucket(port, store_proxy)
        store_proxy.target_port = free_port()


@pytest.fixture
def model(server: LiveServer, client: RestClient, bucket: Bucket) -> Iterator[str]:
    """A model with a lookup table in its assets, of which version 1 lies in the bucket and is available."""
    bucket.put_folder("words/1", server.saved_models / "vocabulary" / "1")
    server.configure("words", bucket.url("words"))
    wait_until(lambda: client.available("words") == {1}, "version 1 has come from the store")
    yield "words"
    server.remove("words")
    wait_until(lambda: "AVAILABLE" not in client.states("words").values(), "the model is unloaded")


def problem(client: RestClient, name: str) -> str:
    """Return what is wrong with a model's storage, as operators see it."""
    (model,) = (one for one in client.get("/v1/models").json["models"] if one["name"] == name)
    return str(model.get("problem", ""))


def test_a_model_in_an_object_store_is_served_and_survives_the_store(
    server: LiveServer, client: RestClient, bucket: Bucket, model: str, store_proxy: FaultProxy
) -> None:
    """Its lookup table comes along, a new version takes over, and without the store everything goes on.

    Even a model server that is killed meanwhile comes back, from the cache of the node.
    """
    assert client.predict(model, WORDS) == IDS
    entries = Path(server.settings.model_cache.folder, "entries")
    assert [one.name.rpartition("-")[0] for one in entries.iterdir()] == [f"{model}-1"]

    bucket.put_folder("words/2", server.saved_models / "vocabulary" / "1")
    wait_until(lambda: client.available(model) == {2}, "version 2 has taken over")
    assert client.predict(model, WORDS) == IDS

    port, store_proxy.target_port = store_proxy.target_port, free_port()
    wait_until(lambda: "UNAVAILABLE" in problem(client, model), "the store's failure shows")
    assert client.predict(model, WORDS) == IDS
    (old_pid,) = version_pids(model, 2)
    reads = store_proxy.reads()
    os.kill(old_pid, signal.SIGKILL)
    wait_until(lambda: new_pids(model, old_pid) != [], "another process serves version 2")
    wait_until(lambda: client.available(model) == {2}, "version 2 is available")
    assert client.predict(model, WORDS) == IDS
    assert store_proxy.reads() == reads

    store_proxy.target_port = port
    wait_until(lambda: problem(client, model) == "", "the store is back")
    assert client.available(model) == {2}


def new_pids(model: str, old_pid: int) -> list[int]:
    """Return the processes of version 2 that are not the old one."""
    return [pid for pid in version_pids(model, 2) if pid != old_pid]
