"""The commands and the Python client send a token."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.errors import Code, ConfigError
from deployments.commands import arguments, status
from ray_model_client import AsyncClient, Client, ServerError
from tests.support.doors.guarded_sites import GuardedSite, GuardedSites, client_of

RULES = "clients:\n" + client_of("ops", "admin") + client_of("user", "metadata")


@pytest.fixture
def site(sites: GuardedSites) -> GuardedSite:
    return sites.ruled(RULES)


def test_commands_take_the_token_from_a_file_or_the_environment(
    site: GuardedSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Never from an argument, which every user of the machine can read."""
    (tmp_path / "token").write_text("ops-token\n")
    server = ["--server", f"127.0.0.1:{site.grpc_port}"]

    assert status.main([*server, "--token-file", str(tmp_path / "token")]) == 0
    assert status.main(server) == 1
    assert "needs a token" in capsys.readouterr().err
    monkeypatch.setenv(arguments.TOKEN_VARIABLE, "ops-token")
    assert status.main(server) == 0
    monkeypatch.setenv(arguments.TOKEN_VARIABLE, "user-token")
    assert status.main(server) == 1
    assert "not allowed to user" in capsys.readouterr().err
    assert status.main([*server, "--token-file", str(tmp_path / "token")]) == 0


@pytest.mark.parametrize("content", ["", "two words", "\xff", "two\nlines"])
def test_a_file_without_a_token_is_a_mistake_that_does_not_show_it(tmp_path: Path, content: str) -> None:
    """Before anything is sent."""
    (tmp_path / "token").write_text(content, encoding="latin-1")
    given = arguments.parser("x", "", "").parse_args(["--token-file", str(tmp_path / "token")])

    with pytest.raises(ConfigError, match="holds no token") as caught:
        arguments.client(given)
    assert not content or content not in str(caught.value)


def test_the_python_client_sends_a_token(site: GuardedSite) -> None:
    """And gets the server's code without it."""
    address = f"127.0.0.1:{site.grpc_port}"
    with Client(address, token="user-token") as client:
        assert [one.version for one in client.status("m")] == [1]
    with Client(address) as client, pytest.raises(ServerError) as caught:
        client.status("m")
    assert caught.value.code == Code.UNAUTHENTICATED


async def test_the_asynchronous_client_sends_a_token(site: GuardedSite) -> None:
    """As the other one."""
    async with AsyncClient(f"127.0.0.1:{site.grpc_port}", token="user-token") as client:
        assert [one.version for one in await client.status("m")] == [1]
