"""What all pages have in common: head, links, style and script, and the policy that forbids all other scripts.

The style and the script are part of a page. A Content-Security-Policy with their hashes forbids all others, so that
even a text that escaped the escaping could not run.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass

from core.pages.tables import escaped

LOCKED = "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"


@dataclass(frozen=True, slots=True)
class StyleAndScript:
    """The style sheet and the script of a page, without their tags."""

    style: str = ""
    script: str = ""

    @property
    def policy(self) -> str:
        """The Content-Security-Policy that allows this style, this script and requests to this server only."""
        return (
            f"default-src 'none'; style-src {_hash(self.style)}; script-src {_hash(self.script)}; "
            f"connect-src 'self'; img-src data:; {LOCKED}"
        )


@dataclass(frozen=True, slots=True)
class Links:
    """The way from a page to the others: `root` leads to `/`, relative; `metrics_path` is empty without metrics."""

    root: str = ""
    metrics_path: str = ""

    def navigation(self, current: str) -> str:
        """Return the links to all pages; the one that is shown is marked."""
        pages = [("Models", self.root or "."), ("API", f"{self.root}docs")]
        if self.metrics_path:
            pages.append(("Metrics", f"{self.root}{self.metrics_path.lstrip('/')}"))
        pages.append(("status.json", f"{self.root}status.json"))
        items = (_item(name, target, is_current=name == current) for name, target in pages)
        return f'<nav aria-label="Pages">{"".join(items)}</nav>'


def still_page(title: str, header: str, main: str, style: str) -> str:
    """Put a page together that has no script and is opened as a file: its policy is in it. Texts are HTML, as below."""
    policy = f"default-src 'none'; style-src {_hash(style)}; img-src data:; base-uri 'none'; form-action 'none'"
    locked = f'<meta http-equiv="Content-Security-Policy" content="{escaped(policy)}">'
    return (
        f"{html_head(title, f'{locked}<style>{style}</style>')}"
        f"<body>\n<header>{header}</header>\n<main>{main}</main>\n</body>\n</html>\n"
    )


def html_page(title: str, header: str, main: str, assets: StyleAndScript) -> str:
    """Put a page together; the texts are HTML, but for the title."""
    return (
        f"{html_head(title, f'<style>{assets.style}</style>')}"
        f'<body>\n<a class="skip" href="#main">To the content</a>\n<header>{header}</header>\n'
        f'<main id="main" tabindex="-1">{main}</main>\n<script>{assets.script}</script>\n</body>\n</html>\n'
    )


def html_head(title: str, style: str) -> str:
    """Return a page down to its body; the style is HTML."""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n<link rel="icon" href="data:,">\n'
        f"<title>{escaped(title)}</title>\n{style}\n</head>\n"
    )


def live_header(brand: str, navigation: str) -> str:
    """Return the header of a page that refreshes itself: its name, the links, the state of the connection."""
    return (
        f'{brand}{navigation}<p id="connection" role="status" aria-live="polite"></p>'
        '<label id="refresh" hidden><input type="checkbox" checked> Refresh by itself</label>'
        '<p id="reload">Reload the page to see what is new.</p>'
    )


def live_part(content: str) -> str:
    """Return the part of a page that is refreshed."""
    return f'<div id="live">{content}</div>'


def _item(name: str, target: str, *, is_current: bool) -> str:
    current = ' aria-current="page"' if is_current else ""
    return f'<a href="{escaped(target)}"{current}>{name}</a>'


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
