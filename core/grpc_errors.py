"""Error texts as a gRPC caller sees them."""

from __future__ import annotations

from typing import Final

LONGEST_MESSAGE_BYTES: Final = 1024
TRUNCATED: Final = "...TRUNCATED"


def status_message(text: str) -> str:
    """Cut a text to what fits into response headers; a character is never cut in two."""
    encoded = text.encode(errors="replace")
    if len(encoded) <= LONGEST_MESSAGE_BYTES:
        return encoded.decode()
    return encoded[:LONGEST_MESSAGE_BYTES].decode(errors="ignore") + TRUNCATED
