"""Prints a JSON document as a page that people can read in a terminal or a browser."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def json_page(document: Mapping[str, Any]) -> bytes:
    """Return the page; names on disk may hold bytes that are not UTF-8, which show as question marks."""
    return f"{json.dumps(document, indent=2, ensure_ascii=False)}\n".encode("utf-8", "replace")
