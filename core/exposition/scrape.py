"""What a scrape asks for: the formats that its client reads, the families that it wants, and whether zipped.

The choice among formats is prometheus-client's. What reaches it is cut down to what it answers well: it takes any
version that a client names for one that it writes, ignores weights, and in OpenMetrics gives families other names than
their samples by the escaping schemes `dots` and `values`. Those two get `underscores`, and the answer's type says so;
none of our names needs escaping.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qs

_VERSIONS: Final = {
    "application/openmetrics-text": frozenset({"", "1.0.0"}),
    "text/plain": frozenset({"", "0.0.4", "1.0.0"}),
    "text/*": frozenset({""}),
    "*/*": frozenset({""}),
}
_OLDEST: Final = frozenset({("text/plain", ""), ("text/plain", "0.0.4"), ("text/*", ""), ("*/*", "")})
_SCHEMES: Final = frozenset({"underscores", "allow-utf-8"})
_LONGEST: Final = 4096
_MOST_NAMES: Final = 1000


@dataclass(frozen=True, slots=True)
class Scrape:
    """The question of one scrape; `names` are those of samples, and none means all."""

    accept: str = ""
    names: tuple[str, ...] = ()
    zipped: bool = False


def read_scrape(target: str, accept: str, accept_encoding: str) -> Scrape:
    """Read the target and the headers of a request; never refuses anything."""
    query = target.partition("#")[0].partition("?")[2]
    try:
        asked = parse_qs(query, max_num_fields=_MOST_NAMES).get("name[]", [])
    except ValueError:
        asked = []
    names = tuple(dict.fromkeys(asked))
    return Scrape(", ".join(_ranges(accept[:_LONGEST])), names, _takes_gzip(accept_encoding[:_LONGEST]))


def _ranges(accept: str) -> list[str]:
    """Return the media ranges that can be answered, those that the client likes best first.

    The library looks behind the oldest text format for a newer one, so that the list ends before it: it is what is
    answered where nothing of the list is.
    """
    found: list[tuple[float, tuple[str, str], str]] = []
    for part in accept.split(","):
        kind, parameters = _split(part)
        version, weight = parameters.get("version", ""), _weight(parameters)
        if weight <= 0 or version not in _VERSIONS.get(kind, frozenset()):
            continue
        scheme = parameters.get("escaping", "")
        shown = [kind, f"version={version}" if version else ""]
        shown.append(f"escaping={scheme if scheme in _SCHEMES else 'underscores'}" if scheme else "")
        found.append((weight, (kind, version), ";".join(filter(None, shown))))
    liked = sorted(found, key=lambda one: -one[0])
    return [text for *_, text in itertools.takewhile(lambda one: one[1] not in _OLDEST, liked)]


def _takes_gzip(accept_encoding: str) -> bool:
    for part in accept_encoding.split(","):
        coding, parameters = _split(part)
        if coding == "gzip":
            return _weight(parameters) > 0
    return False


def _split(part: str) -> tuple[str, dict[str, str]]:
    """Return the value of an element of a header, and its parameters."""
    value, *parameters = (one.strip() for one in part.split(";"))
    pairs = (one.partition("=") for one in parameters)
    return value.lower(), {name.strip().lower(): text.strip().strip('"') for name, _, text in pairs}


def _weight(parameters: dict[str, str]) -> float:
    """Return the weight of an element; one that is not a number counts as none given."""
    try:
        return float(parameters.get("q", "1"))
    except ValueError:
        return 1.0
