"""Certificates of an encrypted port: which files are accepted, and when a changed one is used."""

from __future__ import annotations

import asyncio
import logging
import os
import ssl
from pathlib import Path

import pytest

from core.errors import ConfigError
from deployments.config.certificates import Certificates
from tests.support.certificates import Authority, write_ssl_config

AUTHORITY = Authority()


def presented(context: ssl.SSLContext) -> str:
    """Return the certificate that a server with this context presents to a client, as PEM."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusting.load_verify_locations(cadata=AUTHORITY.certificate)
    client = trusting.wrap_bio(to_client, to_server, server_hostname="localhost")
    server = context.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(5):
        for side in (client, server):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    return ssl.DER_cert_to_PEM_cert(client.getpeercert(binary_form=True) or b"")


def replace(file: Path, *, verify: bool = False, pair: tuple[str, str] | None = None) -> None:
    """Put another file in its place, as tools that renew certificates do."""
    new = file.with_name("new")
    write_ssl_config(new, AUTHORITY, verify=verify, pair=pair)
    os.replace(new, file)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """An SSLConfig file with a certificate for localhost."""
    made = tmp_path / "ssl"
    write_ssl_config(made, AUTHORITY)
    return made


@pytest.mark.parametrize("mistake", ["another key", "encrypted key", "no certificate"])
def test_certificates_that_cannot_work_are_refused_at_the_start(tmp_path: Path, mistake: str) -> None:
    """The file is named; nobody is asked for a password."""
    authority, file = Authority(), tmp_path / "ssl"
    (key, certificate), (other, _) = authority.issue(), authority.issue()
    pairs = {
        "another key": (other, certificate),
        "encrypted key": authority.issue(b"secret"),
        "no certificate": (key, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
    }
    write_ssl_config(file, authority, pair=pairs[mistake])

    with pytest.raises(ConfigError, match="the certificates cannot be used") as caught:
        Certificates(str(file))

    assert str(file) in str(caught.value)


def test_a_broken_authority_is_refused_at_the_start(tmp_path: Path) -> None:
    """Nobody would get in."""
    authority, file = Authority(), tmp_path / "ssl"
    write_ssl_config(file, authority, verify=True)
    whole = file.read_text()
    at = whole.index("custom_ca") + 60
    file.write_text(whole[:at] + "!!!!" + whole[at + 4 :])

    with pytest.raises(ConfigError, match="the certificates cannot be used"):
        Certificates(str(file))


def test_a_changed_certificate_is_presented_to_new_connections(file: Path) -> None:
    """Without a restart, by the same context."""
    context = Certificates(str(file)).context()
    key, certificate = AUTHORITY.issue()
    assert presented(context) != certificate

    replace(file, pair=(key, certificate))

    assert presented(context) == certificate


@pytest.mark.parametrize("content", ["", "server_key: 'x'", None])
def test_a_file_that_becomes_unusable_changes_nothing(file: Path, content: str | None, caplog) -> None:
    """The last good certificate stays, and the log says why, once."""
    context = Certificates(str(file)).context()
    before = presented(context)
    if content is None:
        file.unlink()
    else:
        file.write_text(content)

    with caplog.at_level(logging.WARNING):
        assert [presented(context), presented(context)] == [before, before]

    assert [one.getMessage().split()[0] for one in caplog.records] == ["certificate_not_reloaded"]


def test_whether_clients_need_certificates_cannot_change(file: Path, caplog) -> None:
    """GRPC decides it at the start, and both ports must agree."""
    certificates = Certificates(str(file))
    context = certificates.context()
    before = presented(context)

    replace(file, verify=True)
    with caplog.at_level(logging.WARNING):
        after = presented(context)

    assert after == before
    assert not certificates.config.client_verify
    assert "a new client_verify needs a new start" in caplog.text


def test_a_client_without_a_certificate_is_refused_where_one_is_needed(tmp_path: Path) -> None:
    """`client_verify` in the file."""
    file = tmp_path / "ssl"
    write_ssl_config(file, AUTHORITY, verify=True)

    assert Certificates(str(file)).config.client_verify
    with pytest.raises(ssl.SSLError, match="PEER_DID_NOT_RETURN_A_CERTIFICATE"):
        presented(Certificates(str(file)).context())


async def test_a_server_of_asyncio_uses_the_context(file: Path) -> None:
    """Uvicorn gives it to asyncio, which begins connections in memory."""

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello")
        writer.close()

    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusting.load_verify_locations(cadata=AUTHORITY.certificate)
    async with await asyncio.start_server(answer, "127.0.0.1", 0, ssl=Certificates(str(file)).context()) as server:
        port = server.sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trusting, server_hostname="localhost")
        assert await reader.read() == b"hello"
        writer.close()
