"""`ray_model_server token`: makes a token, and the hash of it for an access file."""

from __future__ import annotations

import argparse
import getpass
import secrets
import sys
from collections.abc import Sequence

from core.access.credentials import LONGEST_TOKEN_BYTES
from core.access.token_hashes import sha256_of
from core.errors import InvalidArgument
from deployments.commands.arguments import DONE, print_json, report_error
from deployments.commands.table import program

DESCRIPTION = """\
Make a token, and the hash of it for the file of --access_file.

The token is printed once and kept nowhere: give it to the client. The hash belongs into the file, and tells nobody the
token. With --hash, the token is read from the terminal, or from a pipe, and not printed. --argon2 is for tokens that a
person chose: a guess takes longer, and so does the first request with the token."""

EXAMPLES = """\
examples:
  ray_model_server token
  ray_model_server token --hash < token.txt
  ray_model_server token --hash --argon2"""

TOKEN_BYTES = 32


def main(arguments: Sequence[str]) -> int:
    """Run the command; returns the exit status."""
    made = argparse.ArgumentParser(
        prog=f"{program()} token",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    made.add_argument("--hash", action="store_true", help="read a token instead of making one")
    made.add_argument("--argon2", action="store_true", help="hash with Argon2 instead of SHA-256")
    made.add_argument("--json", action="store_true", help="print JSON instead of text")
    given = made.parse_args(arguments)
    token = _read() if given.hash else secrets.token_urlsafe(TOKEN_BYTES)
    if not (0 < len(token) <= LONGEST_TOKEN_BYTES and token.isascii() and token.isprintable() and " " not in token):
        text = f"a token has 1 to {LONGEST_TOKEN_BYTES} visible ASCII characters"
        return report_error(InvalidArgument(text), as_json=given.json)
    told = {} if given.hash else {"token": token}
    told["hash"] = _argon2(token) if given.argon2 else f"sha256:{sha256_of(token.encode()).hex()}"
    if given.json:
        print_json(told)
    else:
        print("\n".join(f"{name}: {value}" for name, value in told.items()))
    return DONE


def _read() -> str:
    if sys.stdin.isatty():
        return getpass.getpass("token: ")
    return sys.stdin.readline(LONGEST_TOKEN_BYTES + 3).rstrip("\r\n")


def _argon2(token: str) -> str:
    from argon2 import PasswordHasher  # noqa: PLC0415 - the other hash needs no library

    return PasswordHasher().hash(token)
