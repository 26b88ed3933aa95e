"""Names and signatures in error texts: sorted lists, and protobuf's text format of the SignatureDef."""

from __future__ import annotations

from collections.abc import Iterable

from google.protobuf import text_format

from core.inference.signature import Signature, definition_of


def debug_text(signature: Signature) -> str:
    """Print a signature, without its defaults, keys in order."""
    return text_format.MessageToString(definition_of(signature))


def listed(names: Iterable[str]) -> str:
    """Print names as `a,b`."""
    return ",".join(sorted(names))


def braced(names: Iterable[str]) -> str:
    """Print names as `{a,b}`."""
    return f"{{{listed(names)}}}"
