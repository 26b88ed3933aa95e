"""The access file: what it says, and every mistake with its place."""

from __future__ import annotations

import hashlib

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from core.access.access_file import read_access_rules
from core.access.rights import HEALTH, INFER, METADATA, WHOLE_STATUS, MethodGroup
from core.access.rules import AccessRules
from core.errors import ConfigError
from core.routing.admission import TrafficLimits
from tests.support.doors.guarded_sites import hash_of

WHOLE = f"""
clients:
  ranking:
    tokens:
      - "{hash_of("one")}"
      - {{hash: "{hash_of("two")}", expires: 2027-01-31T00:00:00Z}}
    certificates: ["DNS:ranking.internal", "CN:ranking"]
    allow:
      - groups: [infer, metadata]
        models: [ranker, "ranker-*"]
    max_requests_per_second: 100
    max_in_flight: 16
anyone:
  - groups: [health, status]
"""


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read_access_rules(text, "f")
    return [str(one) for one in caught.value.problems]


def test_a_whole_file_is_read() -> None:
    """Every field has its meaning."""
    rules = read_access_rules(WHOLE, "f")
    client = rules.clients[0]

    assert client.name == "ranking"
    assert [one.sha256 for one in client.tokens] == [hashlib.sha256(one).digest() for one in (b"one", b"two")]
    assert [one.expires_s for one in client.tokens] == [None, 1801353600.0]
    assert client.certificates == {"DNS:ranking.internal", "CN:ranking"}
    assert client.grants[0].groups == {MethodGroup.INFER, MethodGroup.METADATA}
    assert client.limits == TrafficLimits(100.0, 16)
    assert any(one.covers(WHOLE_STATUS) for one in rules.anyone)
    assert rules.of_certificate(["CN:ranking", "DNS:ranking.internal", "CN:x"]) == (client,)


def test_without_anyone_only_health_is_open() -> None:
    """Probes carry no tokens; everything else does."""
    rules = read_access_rules(f'clients: {{a: {{tokens: ["{hash_of("x")}"], allow: [{{groups: [infer]}}]}}}}')

    assert [any(one.covers(right) for one in rules.anyone) for right in (HEALTH, INFER, METADATA)] == [
        True,
        False,
        False,
    ]


def test_an_empty_list_for_anyone_closes_health_too() -> None:
    """What is written counts."""
    assert read_access_rules("anyone: []").anyone == ()


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", "f: the file is empty"),
        ("# nothing", "f: the file says nothing; name `clients` or `anyone`"),
        ("{}", "f:1: names neither `clients` nor `anyone`"),
        ("- a", "f:1: must be a mapping of names to values"),
        ("clients: [", "f:1: not valid YAML"),
        ('clients: "\\UFFFFFFFF"', "f: not valid YAML"),
        ("client: {}", "f:1: client: unknown setting; did you mean clients?"),
        ("anyone: [{}]", "f:1: anyone.0: names no groups; there are infer, metadata, status, health, admin"),
        ("anyone: [{groups: [root]}]", "f:1: anyone.0.groups.0: must be one of infer, metadata, status, health, admin"),
        ("anyone: [{groups: [infer], models: []}]", "f:1: anyone.0.models: is empty; leave it out for all models"),
        ('anyone: [{groups: [infer], models: [""]}]', "f:1: anyone.0.models.0: is empty"),
        ("clients: {a: {}}", "f:1: clients.a: has neither tokens nor certificates, so nobody is this client"),
        ("clients: {a: {certificates: [x]}}", "f:1: clients.a.certificates.0: must begin with CN:"),
        (
            'clients: {a: {certificates: ["CN:x"], max_in_flight: -1}}',
            "f:1: clients.a.max_in_flight: must be at least 0",
        ),
        (
            f'clients: {{a: {{tokens: [{{hash: "{hash_of("x")}", expires: 2027-01-31}}]}}}}',
            "f:1: clients.a.tokens.0.expires: must be a time with its zone",
        ),
        (
            f'clients: {{a: {{tokens: [{{hash: "{hash_of("x")}", expires: [1]}}]}}}}',
            "f:1: clients.a.tokens.0.expires: must be a time with its zone",
        ),
    ],
)
def test_a_mistake_has_its_line_and_field(text: str, wanted: str) -> None:
    """An operator finds it at once."""
    assert any(one.startswith(wanted) for one in problems(text)), problems(text)


def test_every_mistake_is_reported_at_once() -> None:
    """Not one at each start."""
    found = problems("clients:\n  a:\n    tokens: [x]\n    allow: [{groups: [y]}]\n  b: {certificates: [z]}\n")

    assert [one.split(": ")[1] for one in found] == [
        "clients.a.tokens.0",
        "clients.a.allow.0.groups.0",
        "clients.b.certificates.0",
    ]


@pytest.mark.parametrize(
    "given", ["hunter2-plain", "123456", "[hunter2-plain]", "{hunter2-plain: x}", "{hash: hunter2-plain}"]
)
def test_a_token_in_place_of_its_hash_is_not_repeated(given: str) -> None:
    """The mistake is printed, logged and shown on the status page."""
    found = "\n".join(problems(f"clients: {{a: {{tokens: [{given}]}}}}"))

    assert "clients.a.tokens.0" in found
    assert "hunter2" not in found
    assert "123456" not in found


@pytest.mark.parametrize("again", ["expires: 2027-01-31T00:00:00Z", f'hash: "{hash_of("two")}"'])
def test_a_field_of_a_token_that_is_given_twice_is_a_mistake(again: str) -> None:
    """Which of two ends counts must not be left to the reader."""
    token = f'{{hash: "{hash_of("one")}", expires: 2099-01-31T00:00:00Z, {again}}}'
    text = f"clients: {{a: {{tokens: [{token}], allow: [{{groups: [infer]}}]}}}}"

    assert problems(text) == ["f:1: clients.a.tokens.0: has `hash` or `expires` twice"]


def test_certificates_are_a_mistake_where_no_port_asks_for_one() -> None:
    """With the place of each, so that it can be found."""
    with pytest.raises(ConfigError, match=r"f:7: clients\.ranking\.certificates: no port asks for one"):
        read_access_rules(WHOLE, "f", asks_for_certificates=False)


def test_two_clients_cannot_share_a_token() -> None:
    """Nobody could say who calls."""
    text = "clients:\n" + "".join(
        f'  {name}: {{tokens: ["{hash_of("x")}"], allow: [{{groups: [infer]}}]}}\n' for name in ("a", "b")
    )

    assert problems(text) == ["f: clients.b.tokens: has a token of a, too"]


@pytest.mark.parametrize("cost", ["m=99999999,t=3,p=4", "m=65536,t=9999,p=4", "m=65536,t=3,p=999", "m=1,t=3,p=1"])
def test_a_hash_that_would_take_minutes_or_all_memory_is_refused(cost: str) -> None:
    """A request would otherwise cost what the file says."""
    text = f'clients: {{a: {{tokens: ["$argon2id$v=19${cost}$c29tZXNhbHRzYWx0$c29tZWhhc2hzb21laGFzaA"]}}}}'

    assert "may take" in problems(text)[0]


WORDS = [
    "clients",
    "anyone",
    "tokens",
    "allow",
    "groups",
    "models",
    "expires",
    "hash",
    "infer",
    "certificates",
    hash_of("x"),
]
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(WORDS),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS) | st.text(max_size=3), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


def is_read_or_refused(text: str) -> bool:
    """Whether a text is rules, or mistakes with their texts; any other error goes on."""
    try:
        return isinstance(read_access_rules(text, "f"), AccessRules)
    except ConfigError as error:
        return bool(str(error))


@given(VALUES)
def test_any_content_is_rules_or_mistakes(content: object) -> None:
    """The thread that follows the file must outlive whatever is written there."""
    assert is_read_or_refused(yaml.safe_dump(content, allow_unicode=True))


@given(st.text(alphabet="{}[]:,-\"'#&*!|>%@` \n\ta1.", max_size=60))
def test_any_text_is_rules_or_mistakes(text: str) -> None:
    """Also one that is not YAML."""
    assert is_read_or_refused(f"clients: {text}")
