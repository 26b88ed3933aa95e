"""The commands' client: servers that are absent, foreign, slow, encrypted or on a socket."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import grpc
import pytest

from core.errors import Code, RuntimeFailure
from deployments.cli import main
from deployments.commands.admin_client import ENCRYPTED, OTHER_AUTHORITY, REST_PORT, TLS_ADVICE, AdminClient
from tests.support.admin_server import AdminServer
from tests.support.certificates import Authority, write_ssl_config
from tests.support.clients import free_port
from tests.support.sites import Site


def test_no_server_is_said_with_what_was_tried(capsys) -> None:
    """And how to name another one; the exit status differs from that of a refusal."""
    port = free_port()

    assert main(["label", "m", "a", "1", "--server", f"127.0.0.1:{port}"]) == 3

    error = capsys.readouterr().err
    assert f"No Ray Model Server answers at 127.0.0.1:{port} (tried its gRPC port): " in error
    assert "Connection refused" in error
    assert "--server HOST:PORT" in error


def test_another_server_is_not_taken_for_ours(capsys) -> None:
    """TensorFlow Serving, say."""
    server = grpc.server(__import__("concurrent.futures").futures.ThreadPoolExecutor(1))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        assert main(["unload", "m", "--server", f"127.0.0.1:{port}"]) == 3
    finally:
        server.stop(None)
    assert "is not a Ray Model Server, or is an older version" in capsys.readouterr().err


def test_a_server_that_does_not_answer_is_given_up(live: AdminServer) -> None:
    """A change that nobody confirms must not hang either."""
    client = AdminClient(live.address, change_timeout_s=0.5)
    live.is_turning = False
    try:
        with pytest.raises(RuntimeFailure, match=r"ChangeConfig was not answered within 0.5 s") as caught:
            client.change(lambda known: (replace(known.models[0], labels={"a": 2}),))
    finally:
        client.close()
    assert caught.value.code is Code.DEADLINE_EXCEEDED


def test_a_unix_socket_and_tls_are_spoken(tmp_path: Path, capsys) -> None:
    """As the server's `--grpc_socket_path` and `--ssl_config_file` offer them."""
    site = Site((1,))
    site.settle()
    with AdminServer(site, socket_path=str(tmp_path / "s")):
        assert main(["status", "--server", str(tmp_path / "s")]) == 0
        assert main(["status", "--server", f"unix:{tmp_path / 's'}"]) == 0
    authority = Authority()
    write_ssl_config(tmp_path / "ssl", authority, verify=True)
    key, certificate = authority.issue()
    for name, text in (("ca", authority.certificate), ("key", key), ("cert", certificate)):
        (tmp_path / name).write_text(text)
    site = Site((1,))
    site.settle()
    with AdminServer(site, ssl_config_file=str(tmp_path / "ssl")) as live:
        files = [f"--ca={tmp_path / 'ca'}", f"--cert={tmp_path / 'cert'}", f"--key={tmp_path / 'key'}"]
        assert main(["status", "--server", f"localhost:{live.port}", *files]) == 0
        assert main(["status", "--server", f"localhost:{live.port}"]) == 3
    assert main(["status", "--cert", str(tmp_path / "cert")]) == 1
    assert main(["status", "--ca", str(tmp_path / "missing")]) == 1
    assert main(["status", "--server", "http://localhost:8501"]) == 1
    assert "is not a gRPC address" in capsys.readouterr().err


@pytest.mark.parametrize("verifies", [False, True])
def test_a_mistake_about_encryption_is_told_with_the_way_out(tmp_path: Path, capsys, *, verifies: bool) -> None:
    """An encrypted gRPC port is not taken for the REST port."""
    ours, other = Authority(), Authority()
    write_ssl_config(tmp_path / "ssl", ours, verify=verifies)
    for name, authority in (("ca", ours), ("other", other)):
        (tmp_path / name).write_text(authority.certificate)
    site = Site((1,))
    site.settle()
    expected = {
        (): ENCRYPTED,
        ("--tls",): OTHER_AUTHORITY,
        ("--ca", str(tmp_path / "other")): OTHER_AUTHORITY,
        **({("--ca", str(tmp_path / "ca")): TLS_ADVICE["Socket closed"]} if verifies else {}),
    }
    with AdminServer(site, ssl_config_file=str(tmp_path / "ssl")) as live:
        for arguments, advice in expected.items():
            assert main(["status", "--server", f"localhost:{live.port}", *arguments]) == 3
            assert capsys.readouterr().err.splitlines()[1:] == [advice]
        assert main(["status", "--server", f"127.0.0.1:{live.port}", "--ca", str(tmp_path / "ca")]) == 3
        assert capsys.readouterr().err.splitlines()[1:] == [TLS_ADVICE["Hostname Verification"]]


def test_who_encrypts_needlessly_is_told_so(live: AdminServer, capsys) -> None:
    """The server has no `--ssl_config_file`."""
    assert main(["status", "--server", live.address, "--tls"]) == 3

    assert capsys.readouterr().err.splitlines()[1:] == [TLS_ADVICE["WRONG_VERSION_NUMBER"]]


def test_the_rest_port_is_guessed_where_nothing_is_encrypted(capsys) -> None:
    """It answers HTTP/1.1, or closes."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=answer_by_http, args=(listener,), daemon=True).start()
        assert main(["status", "--server", f"127.0.0.1:{listener.getsockname()[1]}"]) == 3

    assert capsys.readouterr().err.splitlines()[1:] == [REST_PORT]


def test_a_socket_that_speaks_http_is_not_taken_for_a_port(tmp_path: Path, capsys) -> None:
    """It has another flag, and no number."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen()
        threading.Thread(target=answer_by_http, args=(listener,), daemon=True).start()
        assert main(["status", "--server", f"unix:{tmp_path / 's'}"]) == 3

    advice = capsys.readouterr().err.splitlines()[1:]
    assert advice == ["Name another one with --server HOST:PORT or --server unix:PATH."]


def answer_by_http(listener: socket.socket) -> None:
    with suppress(OSError):  # closed
        while True:
            connection, _ = listener.accept()
            with connection, suppress(OSError):
                connection.recv(1000)
                connection.sendall(b"HTTP/1.1 505 HTTP Version Not Supported\r\nContent-Length: 0\r\n\r\n")
