"""The styles and scripts of the pages, and the headers that pages are sent with."""

from __future__ import annotations

import functools
from importlib import resources

from core.pages.frame import StyleAndScript
from core.rest.http_answer import Header

REFRESH = "refresh.js"


@functools.cache
def asset(name: str) -> str:
    """Return a file that comes with this package."""
    return (resources.files("deployments.pages") / "assets" / name).read_text("utf-8")


@functools.cache
def assets(*scripts: str) -> StyleAndScript:
    """Return the style of all pages, with some of the scripts as one."""
    return StyleAndScript(asset("pages.css"), "\n".join(map(asset, scripts)))


def page_headers(policy: str) -> tuple[Header, ...]:
    """Return the headers of a page with a Content-Security-Policy."""
    return (
        (b"content-type", b"text/html; charset=utf-8"),
        (b"cache-control", b"no-store"),
        (b"content-security-policy", policy.encode()),
        *SAFE,
    )


SAFE: tuple[Header, ...] = ((b"x-content-type-options", b"nosniff"), (b"referrer-policy", b"no-referrer"))
