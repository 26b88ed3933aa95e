"""The page that shows the OpenAPI document, in the viewer of a package."""

from __future__ import annotations

from typing import Final

from core.pages.frame import LOCKED, Links, html_head

VIEWER_POLICY: Final = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self' data:; " + LOCKED
)
"""What the viewer may load: files of this server. It sends requests to this server, and to no other."""


def docs_page(files: str, links: Links) -> str:
    """Render the page; the viewer and its start lie below `files`, relative to the page."""
    sheets = (f'<link rel="stylesheet" href="{files}/{name}">' for name in ("swagger-ui.css", "docs.css"))
    return (
        f"{html_head('API: Ray Model Server', ''.join(sheets))}"
        f"<body>\n<header><p>Ray Model Server</p>{links.navigation('API')}</header>\n"
        '<main id="viewer"><p>The <a href="openapi.json">OpenAPI document</a> is shown here by a script.</p></main>\n'
        f'<script src="{files}/swagger-ui-bundle.js"></script>\n<script src="{files}/docs.js"></script>\n'
        "</body>\n</html>\n"
    )
