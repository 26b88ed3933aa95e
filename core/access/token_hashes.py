"""Hashes of tokens: SHA-256 for tokens of high entropy, Argon2 for those that a person chose.

A token is looked up by a keyed hash whose key lives as long as the process. So neither the time that a lookup takes nor
the memory of the tokens that were verified tells anything about a token or its hash.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Final

SHA256: Final = re.compile(r"sha256:([0-9a-fA-F]{64})")
ARGON2: Final = re.compile(
    r"\$argon2(?:id|i|d)\$v=19\$m=([0-9]{1,10}),t=([0-9]{1,10}),p=([0-9]{1,10})\$[A-Za-z0-9+/]{11,86}\$[A-Za-z0-9+/]{16,171}"
)
MOST_ARGON2_KIB: Final = 256 * 1024
MOST_ARGON2_PASSES: Final = 20
MOST_ARGON2_LANES: Final = 16
KEY_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class TokenHash:
    """A hash of a token as the file has it: 32 bytes of SHA-256, or the text of Argon2.

    `expires_s` is in seconds since the epoch; None for a token that does not expire.
    """

    sha256: bytes = b""
    argon2: str = ""
    expires_s: float | None = None

    def is_valid_at(self, wall_s: float) -> bool:
        """Whether the token has not expired."""
        return self.expires_s is None or wall_s < self.expires_s


def token_hash(text: str, expires_s: float | None = None) -> TokenHash | str:
    """Read a hash; the text of the mistake where it is none. The mistake never repeats what was given."""
    found = SHA256.fullmatch(text)
    if found is not None:
        return TokenHash(bytes.fromhex(found[1]), expires_s=expires_s)
    found = ARGON2.fullmatch(text)
    if found is None:
        return (
            "must be `sha256:` with 64 hexadecimal digits, or a hash of Argon2 version 19, never the token itself; "
            "`ray_model_server token` makes both"
        )
    memory_kib, passes, lanes = map(int, found.groups())
    if (
        not 8 <= memory_kib <= MOST_ARGON2_KIB
        or not 1 <= passes <= MOST_ARGON2_PASSES
        or not 1 <= lanes <= MOST_ARGON2_LANES
    ):
        return f"may take {MOST_ARGON2_KIB} KiB, {MOST_ARGON2_PASSES} passes and {MOST_ARGON2_LANES} lanes at most"
    return TokenHash(argon2=text, expires_s=expires_s)


def sha256_of(token: bytes) -> bytes:
    """Return the SHA-256 of a token."""
    return hashlib.sha256(token).digest()


def keyed(content: bytes, key: bytes) -> bytes:
    """Return a hash that nobody can compute who does not have the key."""
    return hashlib.blake2b(content, key=key, digest_size=32).digest()
