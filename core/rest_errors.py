"""The body of a REST error, byte for byte as TensorFlow Serving writes it."""

from __future__ import annotations

from core.json_strings import quote, raw_bytes


def error_body(message: str) -> bytes:
    """Write the error object: four spaces, no newline at the end, the message in full."""
    return b'{\n    "error": %b\n}' % quote(raw_bytes(message))
