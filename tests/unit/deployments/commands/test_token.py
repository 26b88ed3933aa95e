"""`ray_model_server token`: tokens and their hashes."""

from __future__ import annotations

import io
import json
import sys

import pytest
from argon2 import PasswordHasher

from core.access.access_file import read_access_rules
from deployments.commands import token
from tests.support.doors.guarded_sites import hash_of


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, str]:
    assert token.main(arguments) == 0
    return dict(line.split(": ", 1) for line in capsys.readouterr().out.splitlines())


def test_a_token_is_made_with_the_hash_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    """The hash goes into the file as it is."""
    told = printed(capsys)

    assert len(told["token"]) >= 43
    assert told["hash"] == hash_of(told["token"])
    assert printed(capsys)["token"] != told["token"]
    text = f'clients: {{a: {{tokens: ["{told["hash"]}"], allow: [{{groups: [infer]}}]}}}}'
    assert read_access_rules(text).clients[0].name == "a"


def test_a_given_token_is_hashed_and_not_printed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is read from a pipe: arguments are seen by every user of the machine."""
    monkeypatch.setattr(sys, "stdin", io.StringIO("pass-word\r\n"))

    assert printed(capsys, "--hash") == {"hash": hash_of("pass-word")}


def test_a_given_token_can_have_a_slow_hash(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """For those that a person chose."""
    monkeypatch.setattr(sys, "stdin", io.StringIO("pass-word"))

    told = printed(capsys, "--hash", "--argon2")["hash"]

    assert PasswordHasher().verify(told, "pass-word")
    assert read_access_rules(f"clients: {{a: {{tokens: ['{told}'], allow: [{{groups: [infer]}}]}}}}").clients


@pytest.mark.parametrize("given", ["", "two words", "ä", "a\tb", "x" * 5000])
def test_what_cannot_be_sent_is_refused(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    """A header could not carry it."""
    monkeypatch.setattr(sys, "stdin", io.StringIO(given))

    assert token.main(["--hash"]) == 1
    assert "visible ASCII" in capsys.readouterr().err


def test_a_refusal_is_json_where_that_is_wanted(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of every command."""
    monkeypatch.setattr(sys, "stdin", io.StringIO("two words"))

    assert token.main(["--hash", "--json"]) == 1

    printed = capsys.readouterr()
    assert json.loads(printed.out)["error"]["code"] == "INVALID_ARGUMENT"
    assert printed.err == ""


def test_json_has_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    """For scripts."""
    assert token.main(["--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["hash"] == hash_of(told["token"])
