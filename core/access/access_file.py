"""Reads the access file: who may do what, as YAML; every mistake is reported with its line and field.

clients:
  ranking:                          a name, for logs of changes and for error texts
    tokens: ["sha256:…"]            hashes, several for a rotation; also {hash: …, expires: 2027-01-31T00:00:00Z}
    certificates: ["DNS:ranking.internal"]    names of client certificates, see CERTIFICATE
    allow:
      - groups: [infer, metadata]
        models: [ranker, "ranker-*"]    all models without it
    max_requests_per_second: 100    0 or nothing: no limit
    max_in_flight: 16
anyone:                             what callers may do who show nothing; without it, health
  - groups: [health]
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from functools import partial
from typing import Any, Final

import yaml

from core.access.certificate_names import one_spelling
from core.access.rights import MethodGroup
from core.access.rules import AccessClient, AccessRules, Grant
from core.access.token_hashes import TokenHash, token_hash
from core.errors import ConfigError, Problem
from core.formats.yaml_reading import (
    MISTAKE,
    YamlEntry,
    choice,
    compose,
    decimal,
    each,
    mapping,
    section,
    text,
    whole,
)
from core.routing.admission import TrafficLimits

CERTIFICATE: Final = re.compile(r"(?:CN|DNS|URI|IP|EMAIL):.+")
HEALTH_FOR_ANYONE: Final = (Grant(frozenset({MethodGroup.HEALTH})),)
MOST_IN_FLIGHT: Final = 1_000_000


NOT_ASKED_FOR: Final = "no port asks for one: set client_verify in its SSLConfig file"


def read_access_rules(content: str, file: str = "", *, asks_for_certificates: bool = True) -> AccessRules:
    """Read an access file; raises ConfigError with every mistake.

    `asks_for_certificates`: whether a port does; if none does, nobody could be a client by its certificate.
    """
    node = compose(content, file)
    if node is None:
        raise ConfigError((Problem("the file says nothing; name `clients` or `anyone`", file),))
    problems: list[Problem] = []
    entry = YamlEntry(node, "", file, problems)
    values = section({"clients": mapping(_client), "anyone": each(_grant)})(entry)
    clients = tuple(client(name) for name, client in values.get("clients", {}).items())
    if not problems:
        problems += _shared_tokens(clients, file)
    for client in () if asks_for_certificates else clients:
        if client.certificates:
            entry.at("clients").at(client.name).at("certificates").mistake(NOT_ASKED_FOR)
    if not problems and not values:
        entry.mistake("names neither `clients` nor `anyone`")
    if problems:
        raise ConfigError(tuple(problems))
    return AccessRules(clients, values.get("anyone", HEALTH_FOR_ANYONE))


def _client(entry: YamlEntry) -> Any:
    """Read a client as a function of its name; MISTAKE where it is none."""
    before = len(entry.problems)
    values = section(
        {
            "tokens": each(_token),
            "certificates": each(_certificate),
            "allow": each(_grant),
            "max_requests_per_second": decimal(0),
            "max_in_flight": whole(0, MOST_IN_FLIGHT),
        }
    )(entry)
    if len(entry.problems) > before:
        return MISTAKE
    if not values.get("tokens") and not values.get("certificates"):
        entry.mistake("has neither tokens nor certificates, so nobody is this client")
    if not values.get("allow"):
        entry.mistake("has nothing under `allow`, so it may do nothing")
    limits = TrafficLimits(values.get("max_requests_per_second", 0.0), values.get("max_in_flight", 0))
    certificates = frozenset(values.get("certificates", ()))
    return partial(
        AccessClient,
        grants=values.get("allow", ()),
        tokens=values.get("tokens", ()),
        certificates=certificates,
        limits=limits,
    )


def _grant(entry: YamlEntry) -> Any:
    before = len(entry.problems)
    words = {one.value: one for one in MethodGroup}
    values = section({"groups": each(choice(words)), "models": each(_model)})(entry)
    if len(entry.problems) > before:
        return MISTAKE
    if not values.get("groups"):
        return entry.mistake(f"names no groups; there are {', '.join(words)}")
    if values.get("models") == ():
        return entry.at("models").mistake("is empty; leave it out for all models")
    return Grant(frozenset(values["groups"]), values.get("models", ()))


def _model(entry: YamlEntry) -> Any:
    name = text(entry)
    return entry.mistake("is empty") if name == "" else name


def _certificate(entry: YamlEntry) -> Any:
    """Read a name of certificates: the common name of a subject, or one of its alternative names."""
    name = text(entry)
    if name is not MISTAKE and CERTIFICATE.fullmatch(name) is None:
        return entry.mistake("must begin with CN:, DNS:, URI:, IP: or EMAIL:")
    return name if name is MISTAKE else one_spelling(name)


def _token(entry: YamlEntry) -> Any:
    """Read a hash, with or without its end; what is given instead may be a token, and is not repeated."""
    if isinstance(entry.node, yaml.ScalarNode):
        return _hash(entry, None)
    names = _names(entry.node) if isinstance(entry.node, yaml.MappingNode) else []
    if not names or set(names) - {"hash", "expires"}:
        return entry.mistake("must be a hash, or `hash` and `expires`")
    if len(names) > len(set(names)):
        return entry.mistake("has `hash` or `expires` twice")
    expires_s = _end(entry.at("expires")) if "expires" in names else None
    if expires_s is MISTAKE:
        return MISTAKE
    return _hash(entry.at("hash"), expires_s)


def _names(node: yaml.MappingNode) -> list[str]:
    return [str(key.value) for key, _ in node.value]


def _hash(entry: YamlEntry, expires_s: float | None) -> Any:
    given = entry.node.value if isinstance(entry.node, yaml.ScalarNode) else ""
    found = token_hash(given, expires_s)
    return found if isinstance(found, TokenHash) else entry.mistake(found)


def _end(entry: YamlEntry) -> Any:
    """Read a time with its zone as seconds since the epoch."""
    given = entry.node.value if isinstance(entry.node, yaml.ScalarNode) else ""
    try:
        at = datetime.fromisoformat(given)
        if at.tzinfo is not None:
            return at.timestamp()
    except (ValueError, OverflowError):
        pass
    return entry.mistake("must be a time with its zone, such as 2027-01-31T00:00:00Z")


def _shared_tokens(clients: tuple[AccessClient, ...], file: str) -> Iterator[Problem]:
    """Yield a mistake for each hash that two clients have: nobody could say which of them calls."""
    owners: dict[bytes, str] = {}
    for client in clients:
        for one in client.tokens:
            other = owners.setdefault(one.sha256 or one.argon2.encode(), client.name)
            if other != client.name:
                yield Problem(f"has a token of {other}, too", file, field=f"clients.{client.name}.tokens")
