"""Arguments, output and exit statuses that all commands for a running server share."""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

import grpc

from core.admin.status_text import printable
from core.errors import ConfigError, Problem, ServingError
from core.storage.directory_names import HIGHEST_VERSION
from deployments.commands.admin_client import OPTIONS, AdminClient, NoServer
from deployments.commands.table import program

DEFAULT_PORT = 8500
TOKEN_VARIABLE = "RAY_MODEL_SERVER_TOKEN"  # noqa: S105 - the name of a variable
DONE, FAILED, NO_SERVER = 0, 1, 3
_NOTHING: Mapping[str, object] = MappingProxyType({})
EXIT_STATUSES = "exit status: 0 done, 1 refused or failed, 2 wrong arguments, 3 no server answers"


def parser(name: str, description: str, examples: str) -> argparse.ArgumentParser:
    """Return a parser with the arguments of all commands."""
    made = argparse.ArgumentParser(
        prog=f"{program()} {name}",
        description=description,
        epilog=f"examples:\n{examples}\n\n{EXIT_STATUSES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    made.add_argument("--json", action="store_true", help="print JSON instead of text")
    server = made.add_argument_group("which server")
    server.add_argument(
        "--server",
        metavar="ADDRESS",
        default="localhost",
        help="gRPC address: HOST, HOST:PORT or unix:PATH (default: localhost:8500)",
    )
    server.add_argument("--tls", action="store_true", help="encrypt; implied by the files below")
    server.add_argument("--ca", metavar="FILE", help="certificates that the server's must lead to, as PEM")
    server.add_argument("--cert", metavar="FILE", help="certificate to show to the server, as PEM; needs --key")
    server.add_argument("--key", metavar="FILE", help="its private key, as PEM")
    server.add_argument(
        "--token-file",
        metavar="FILE",
        help=f"file with the token to send, where the server has an access file (default: {TOKEN_VARIABLE})",
    )
    return made


def add_waiting(made: argparse.ArgumentParser) -> None:
    """Add the arguments of commands that wait for their outcome."""
    made.add_argument("--no-wait", action="store_true", help="do not wait for the outcome")
    made.add_argument("--timeout", metavar="S", type=_seconds, default=300.0, help="seconds to wait (default: 300)")


def version_number(text: str) -> int:
    """Parse a version number."""
    number = int(text) if text.isascii() and text.isdecimal() and len(text) <= len(str(HIGHEST_VERSION)) else -1
    if not 0 <= number <= HIGHEST_VERSION:
        raise argparse.ArgumentTypeError(f"{text} is not a version number")
    return number


def name(text: str) -> str:
    """Parse a name or a path, which messages contain as UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise argparse.ArgumentTypeError(f"{text!a} is not UTF-8") from None
    return text


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not seconds >= 0:
        raise argparse.ArgumentTypeError(f"{text} is not a number of seconds")
    return seconds


def client(given: argparse.Namespace) -> AdminClient:
    """Return a client for the server in the arguments; raises ConfigError for files that cannot be read."""
    return AdminClient(target(given.server), _credentials(given), token=_token(given))


def server_channel(given: argparse.Namespace) -> tuple[grpc.Channel, tuple[tuple[str, str], ...]]:
    """Return a connection to the server in the arguments, and the metadata of its calls; raises ConfigError."""
    credentials, token = _credentials(given), _token(given)
    options = (*OPTIONS, ("grpc.max_send_message_length", -1))
    if credentials is None:
        channel = grpc.insecure_channel(target(given.server), options=options)
    else:
        channel = grpc.secure_channel(target(given.server), credentials, options=options)
    return channel, (("authorization", f"Bearer {token}"),) if token else ()


def target(address: str) -> str:
    """Return an address in gRPC's form, with our port if it has none."""
    if address.startswith("/"):
        return f"unix:{address}"
    if address.startswith("unix:"):
        return address
    if "://" in address:
        raise ConfigError((Problem(f"{address} is not a gRPC address; use HOST:PORT or unix:PATH", field="--server"),))
    if address.count(":") > 1 and not address.startswith("["):
        return f"[{address}]:{DEFAULT_PORT}"
    has_port = ":" in address.rpartition("]")[2]
    return address if has_port else f"{address}:{DEFAULT_PORT}"


def _credentials(given: argparse.Namespace) -> grpc.ChannelCredentials | None:
    if bool(given.cert) != bool(given.key):
        raise ConfigError((Problem("--cert and --key belong together"),))
    if not (given.tls or given.ca or given.cert):
        return None
    return grpc.ssl_channel_credentials(_content(given.ca), _content(given.key), _content(given.cert))


def _token(given: argparse.Namespace) -> str:
    """Return the token to send: never an argument, which other users of the machine could read."""
    content = _content(given.token_file)
    text = os.environ.get(TOKEN_VARIABLE, "") if content is None else content.decode("latin-1")
    token = text.strip()
    if not token.isascii() or not token.isprintable() or " " in token or (content is not None and not token):
        place = given.token_file or f"${TOKEN_VARIABLE}"
        raise ConfigError((Problem("holds no token: one line of visible ASCII characters", file=place),))
    return token


def _content(file: str | None) -> bytes | None:
    try:
        return Path(file).read_bytes() if file else None
    except OSError as error:
        raise ConfigError((Problem(f"cannot be read: {error}", file=str(file)),)) from error


def answered(work: Callable[[], int], *, as_json: bool) -> int:
    """Run a command's work; an error becomes a text or a JSON document, and an exit status."""
    try:
        return work()
    except ServingError as error:
        return report_error(error, as_json=as_json)


def report_error(error: ServingError, *, as_json: bool, beside: Mapping[str, object] = _NOTHING) -> int:
    """Print an error, as JSON with the members beside it; returns the exit status."""
    if as_json:
        print_json({"error": {"code": error.code.name, "message": str(error)}, **beside})
    else:
        lines = str(error).split("\n")  # names out of files and stores may hold what a terminal would interpret
        print(f"{program()}: " + "\n".join(map(printable, lines)), file=sys.stderr)
    return NO_SERVER if isinstance(error, NoServer) else FAILED


def print_json(document: object) -> None:
    """Print a document as JSON."""
    print(json.dumps(document, indent=2))
