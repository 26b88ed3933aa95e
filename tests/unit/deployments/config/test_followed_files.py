"""Files at URLs: read by everything that reads local ones, followed without waiting, kept while their store is away."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.config.parameter_files import BATCHING_WITHOUT_FILE
from core.config.server_settings import (
    BatchingSettings,
    FrontDoorSettings,
    ModelSourceSettings,
    MonitoringSettings,
    PollingSettings,
    ServerSettings,
    SessionSettings,
)
from core.errors import ConfigError
from core.routing.table import RoutingTable
from deployments.cli import main
from deployments.config import followed_files as followed_files_module
from deployments.config.certificates import Certificates
from deployments.config.configured_models import ConfiguredModels, followed_files
from deployments.config.files import LARGEST_FILE_BYTES, read_text
from deployments.config.followed_files import FollowedFiles
from deployments.config.models_in_force import Configuration
from deployments.config.startup_settings import checked, monitoring, parse_arguments
from tests.support.certificates import Authority, write_ssl_config
from tests.support.clients import free_port, wait_until
from tests.support.stores.fault_proxy import fails, held
from tests.support.stores.object_store import Bucket

LOOK_S = 0.05
ONE = 'model_config_list { config { name: "m" base_path: "/m" model_platform: "tensorflow" } }'
TWO = ONE[:-1] + 'config { name: "n" base_path: "/n" model_platform: "tensorflow" } }'


def followers() -> list[threading.Thread]:
    """Return the threads that follow files of stores."""
    return [one for one in threading.enumerate() if one.name.startswith("follows ") and "://" in one.name]


@pytest.fixture(autouse=True)
def _nobody_follows(bucket: Bucket) -> Iterator[None]:
    """A look that outlives its test would ask the store of the next one: clients find it by the environment."""
    yield
    bucket.proxy.heal()
    wait_until(lambda: not followers(), "the last looks have ended")


@pytest.fixture
def follow(_nobody_follows: None) -> Iterator[object]:
    """Follow files, and stop at the end of the test."""
    made: list[FollowedFiles] = []

    def following(*urls: str, every_s: float = LOOK_S) -> FollowedFiles:
        made.append(FollowedFiles(dict.fromkeys(urls, every_s)))
        return made[-1]

    yield following
    for one in made:
        one.close()


def problems_of(path: str) -> str:
    """Return why a file cannot be read."""
    with pytest.raises(ConfigError) as caught:
        read_text(path)
    return str(caught.value)


def test_a_file_is_read_from_a_store(bucket: Bucket) -> None:
    """With the byte order mark and the line ends that local files may have too."""
    bucket.put("c/models.config", b"\xef\xbb\xbf" + ONE.replace(" ", "\r\n").encode())

    assert read_text(bucket.url("c/models.config")) == ONE.replace(" ", "\n")


def test_an_empty_file_is_read_from_a_store(bucket: Bucket) -> None:
    """It has no bytes to ask for."""
    bucket.put("c/empty", b"")

    assert read_text(bucket.url("c/empty")) == ""


@pytest.mark.parametrize("prefix", ["", "file://", "file://localhost"])
def test_a_local_file_may_be_named_as_a_url(tmp_path: Path, prefix: str) -> None:
    """As base paths may."""
    (tmp_path / "models.config").write_text(ONE)

    assert read_text(f"{prefix}{tmp_path}/models.config") == ONE


def test_why_a_file_of_a_store_cannot_be_read_is_reported(bucket: Bucket) -> None:
    """With the URL once, the reason, and the endpoint; a folder and a file that is too large are named as such."""
    url, place = bucket.url("c/models.config"), f"; endpoint {bucket.proxy.url}"
    bucket.put("c/folder/file", b"")
    bucket.put("c/binary", b"\xff\xfe\x00\x80")
    bucket.put("c/large", b" " * (LARGEST_FILE_BYTES + 1))

    assert problems_of(url) == f"{url}: cannot be read: {url} not found{place}"
    assert f"cannot be read: a directory, not a file{place}" in problems_of(bucket.url("c/folder"))
    assert "codec can't decode" in problems_of(bucket.url("c/binary"))
    assert "cannot be read: it is larger than" in problems_of(bucket.url("c/large"))
    bucket.proxy.inject(fails(403, "AccessDenied"))
    assert "access is denied" in problems_of(url)
    assert "cannot be read: Protocol not known: sss" in problems_of("sss://bucket/models.config")


def test_the_newest_content_is_read_without_waiting(bucket: Bucket, follow) -> None:
    """A look costs one request while nothing changes, and two when the content is another."""
    url = bucket.url("c/models.config")
    bucket.put("c/models.config", ONE.encode())
    followed = follow(url)

    assert followed.read(url) == ONE
    wait_until(lambda: len(bucket.proxy.seen) > 4, "some looks went by")
    assert [one.method for one in bucket.proxy.seen if one.method == "GET"] == ["GET"]
    assert followed.changes == 1
    bucket.put("c/models.config", TWO.encode())
    wait_until(lambda: followed.read(url) == TWO, "the new content is read")
    assert (followed.changes, followed.problems) == (2, ())


def test_a_store_that_is_away_leaves_the_last_content(bucket: Bucket, follow) -> None:
    """It is a problem with its reason as long as it lasts."""
    url = bucket.url("c/models.config")
    bucket.put("c/models.config", ONE.encode())
    followed = follow(url)
    assert followed.read(url) == ONE

    bucket.proxy.inject(fails(403, "AccessDenied"))
    wait_until(lambda: followed.problems != (), "the problem shows")
    [problem] = followed.problems
    assert (followed.read(url), "access is denied" in problem.message) == (ONE, True)

    bucket.proxy.heal()
    wait_until(lambda: followed.problems == (), "the store is back")


def test_a_content_that_is_not_text_leaves_the_last_one(bucket: Bucket, follow) -> None:
    """As a local file that becomes unreadable leaves the list in force."""
    url = bucket.url("c/models.config")
    bucket.put("c/models.config", ONE.encode())
    followed = follow(url)
    assert followed.read(url) == ONE

    bucket.put("c/models.config", b"\xff\xfe\x00\x80")

    wait_until(lambda: followed.problems != (), "the problem shows")
    assert followed.read(url) == ONE


def test_readers_wait_for_the_first_answer_alone(bucket: Bucket, follow, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that hangs costs a bounded time once, and every later read nothing."""
    monkeypatch.setattr(followed_files_module, "FIRST_ANSWER_S", 0.2)
    url = bucket.url("c/models.config")
    may_answer = threading.Event()
    bucket.proxy.inject(held(may_answer))
    followed = follow(url)

    for _ in range(50):
        with pytest.raises(ConfigError, match="the store has not answered yet"):
            followed.read(url)
    may_answer.set()


def test_a_file_that_is_not_there_yet_is_taken_when_it_comes(
    bucket: Bucket, follow, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also without polling: until a first content was read there is nothing to serve by."""
    monkeypatch.setattr(followed_files_module, "FIRST_LOOKS_EVERY_S", LOOK_S)
    url = bucket.url("c/models.config")
    followed = follow(url, every_s=0)
    with pytest.raises(ConfigError, match="not found"):
        followed.read(url)

    bucket.put("c/models.config", ONE.encode())

    wait_until(lambda: followed.problems == (), "the file is read")
    assert followed.read(url) == ONE


def test_the_list_of_models_follows_its_file(bucket: Bucket) -> None:
    """A change counts before the next poll is due; a store that is away is a problem, and unloads nothing."""
    bucket.put("c/models.config", ONE.encode())
    source = ModelSourceSettings(model_config_file=bucket.url("c/models.config"), model_config_file_poll_wait_s=1)
    settings = ServerSettings(source=source)
    followed = followed_files(settings)
    made = Configuration(source, ConfiguredModels(settings, followed))

    def names(now_s: float) -> list[str]:
        made.poll(now_s, RoutingTable(0))
        in_force = made.in_force()
        return [one.name for one in in_force.models] if in_force is not None else []

    assert names(0.0) == ["m"]
    bucket.put("c/models.config", TWO.encode())
    wait_until(lambda: names(0.5) == ["m", "n"], "the change is in force")
    bucket.proxy.inject(fails(404, "NoSuchKey"))
    wait_until(lambda: names(0.5) == ["m", "n"] and made.problems != (), "the problem shows")
    bucket.proxy.heal()
    wait_until(lambda: names(0.5) == ["m", "n"] and made.problems == (), "the problem is over")
    followed.close()


def test_every_file_may_lie_in_a_store(bucket: Bucket, tmp_path: Path) -> None:
    """The checks at the start read them all."""
    write_ssl_config(tmp_path / "ssl", Authority())
    bucket.put("c/models.config", ONE.encode())
    bucket.put("c/settings.yaml", b"models: {m: {num_replicas: 2}}\nserver: {rest_api_port: 8501}\n")
    bucket.put("c/batching", b"max_batch_size { value: 7 }")
    bucket.put("c/session", b"intra_op_parallelism_threads: 3")
    bucket.put("c/monitoring", b'prometheus_config { enable: true path: "/metrics" }')
    bucket.put("c/ssl", (tmp_path / "ssl").read_bytes())

    parsed = parse_arguments([f"--model_settings_file={bucket.url('c/settings.yaml')}", "--model_base_path=/m"])
    settings, _ = checked(
        ServerSettings(
            source=ModelSourceSettings(
                bucket.url("c/models.config"), model_settings_file=bucket.url("c/settings.yaml")
            ),
            batching=BatchingSettings(enabled=True, parameters_file=bucket.url("c/batching")),
            session=SessionSettings(session_config_file=bucket.url("c/session")),
            monitoring=MonitoringSettings(config_file=bucket.url("c/monitoring")),
            front_door=FrontDoorSettings(ssl_config_file=bucket.url("c/ssl"), rest_ssl_config_file=bucket.url("c/ssl")),
        )
    )
    models = ConfiguredModels(settings)

    assert parsed.settings is not None
    assert parsed.settings.front_door.rest_port == 8501
    assert [(one.name, one.resources.num_replicas) for one in models.models()] == [("m", 2)]
    assert (models.batching() or BATCHING_WITHOUT_FILE).max_batch_size == 7
    assert models.session_config() != b""
    assert monitoring(settings).prometheus_path == "/metrics"


def test_only_files_at_urls_are_followed(tmp_path: Path) -> None:
    """Local ones are read anew each time, and cost no thread."""
    source = ModelSourceSettings(
        model_config_file=str(tmp_path / "models.config"), model_settings_file="file:///s.yaml"
    )

    assert followed_files(ServerSettings(source=source)).changes == 0
    assert followed_files(ServerSettings(source=source, polling=PollingSettings()))._files == {}


def test_a_certificate_in_a_store_is_renewed(bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """New connections get the new one, and no handshake waits for the store."""
    monkeypatch.setattr("deployments.config.certificates.FOLLOWED_EVERY_S", LOOK_S)
    authority = Authority()
    write_ssl_config(tmp_path / "ssl", authority)
    bucket.put("c/ssl", (tmp_path / "ssl").read_bytes())
    certificates = Certificates(bucket.url("c/ssl"))
    first = certificates.config.server_cert

    write_ssl_config(tmp_path / "ssl", authority)
    bucket.put("c/ssl", (tmp_path / "ssl").read_bytes())

    def renewed() -> bool:
        certificates.context().wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_side=True)
        return certificates.config.server_cert != first

    wait_until(renewed, "the new certificate is used")
    certificates._followed.close()


def test_check_config_reads_from_stores(bucket: Bucket, capsys) -> None:
    """A store that refuses is a mistake with its endpoint."""
    bucket.put("c/models.config", ONE.encode())
    nowhere = f"s3://nowhere-{free_port()}/models.config"

    assert main(["check-config", bucket.url("c/models.config")]) == 0
    assert "(models): no mistakes" in capsys.readouterr().out
    assert main(["check-config", nowhere]) == 1
    assert f"the bucket does not exist (NoSuchBucket); endpoint {bucket.proxy.url}" in capsys.readouterr().out
