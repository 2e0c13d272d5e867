"""The words of the command line (DESIGN §6). A line that cannot be understood is a UsageError, never a traceback."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import NamedTuple, NoReturn

from syncd import __version__
from syncd.core.errors import UserError
from syncd.core.model import OutcomeKind, Role
from syncd.home.config import split_address

TRANSACTIONS_USUAL = 50
TRANSACTIONS_MAX = 10_000


class UsageError(UserError):
    """The command line itself cannot be understood."""


class Place(NamedTuple):
    """Where a collection's objects live: the kind of application and its absolute path."""

    kind: str
    path: str


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(message, f"see `{self.prog} --help`")


def parse(argv: list[str]) -> argparse.Namespace:
    """The arguments of one verb; ``verb`` names it."""
    parser = _Parser(prog="syncd", description="Keeps your data the same on all of your machines.", allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"syncd {__version__}")
    parser.add_argument("--home", metavar="DIR", help="the home directory of the daemon")
    # The same after the verb; suppressed there, so that it does not undo what stood before the verb.
    common = _Parser(add_help=False)
    common.add_argument("--home", metavar="DIR", default=argparse.SUPPRESS, help="the home directory of the daemon")
    shows = _Parser(add_help=False, parents=[common])
    shows.add_argument("--json", action="store_true", help="print JSON with documented keys")
    asks = _Parser(add_help=False, parents=[shows])
    asks.add_argument("--socket", metavar="PATH", help="the control socket of the daemon, in place of its home")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)

    def verb(name: str, what: str, parent: _Parser = shows) -> _Parser:
        return verbs.add_parser(name, help=what, description=what, parents=[parent], allow_abbrev=False)

    _init(verb("init", "Make this machine a device: the primary of a user, or an auxiliary."))
    _share(verb("share", "On the primary: synchronize a collection."))
    _accept(verb("accept", "On an auxiliary: take a collection."))
    verb("run", "Run the daemon in the foreground.", common)
    _pair(verb("pair", "Link two devices: print a token on the primary, use it on the auxiliary.", asks))
    _status(verb("status", "Show where everything stands.", asks))
    _transactions(verb("transactions", "Show groups and what became of them, per device.", asks))
    retry = verb("retry", "Execute parked groups again.", asks)
    retry.add_argument("group", metavar="GROUP", nargs="?", help="one group, as notes:912; without it, all of them")
    if not argv:
        parser.print_help(sys.stderr)
        parser.exit(2)
    parsed = parser.parse_args(argv)
    if parsed.verb == "pair":
        _check_pair(parsed)
    return parsed


def _init(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--role", required=True, choices=[role.value for role in Role], help="what it is for the user")
    parser.add_argument("--user", metavar="NAME", default="", help="primary: whose data it is")
    parser.add_argument("--name", metavar="DEVICE", default="", help="name of this device (usual: the host name)")
    parser.add_argument(
        "--listen", metavar="HOST:PORT", default="", help="primary: address to listen at; port 0: a free one"
    )
    parser.add_argument(
        "--no-discovery", action="store_true", help="no mDNS (not in this version: a token holds addresses)"
    )
    parser.add_argument(
        "--adapter", choices=["msgpack", "json"], default="msgpack", help="auxiliary: form of the messages"
    )


def _share(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("collection", metavar="COLLECTION", help="a name for it, the same on all devices")
    parser.add_argument(
        "--from", dest="place", metavar="KIND:PATH", required=True, type=_place, help="as sqlite:notes.db"
    )
    parser.add_argument(
        "--table", dest="tables", metavar="T", nargs="+", action="extend", default=[], help="only these tables"
    )


def _accept(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("collection", metavar="COLLECTION", help="its name on the primary")
    parser.add_argument(
        "--into", dest="place", metavar="KIND:PATH", required=True, type=_place, help="as sqlite:notes.db"
    )
    parser.add_argument("--replace", action="store_true", help="replace what the target holds, after a backup copy")


def _pair(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("with_token", metavar="TOKEN", nargs="?", help="auxiliary: the line that the primary printed")
    parser.add_argument("--token", action="store_true", help="primary: print the token alone, in one line")
    parser.add_argument(
        "--replace", action="store_true", help="auxiliary: take another primary's data, after a backup copy of its own"
    )
    parser.add_argument("--address", metavar="HOST:PORT", type=_address, help="auxiliary: where the primary listens")


def _check_pair(parsed: argparse.Namespace) -> None:
    if parsed.with_token and parsed.token:
        raise UsageError("--token prints a token and takes none", "to use one: `syncd pair TOKEN`")
    if parsed.address and not parsed.with_token:
        raise UsageError("--address needs a token", "use `syncd pair TOKEN --address HOST:PORT`")


def _status(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--watch", action="store_true", help="go on showing it until Ctrl-C")


def _transactions(parser: argparse.ArgumentParser) -> None:
    outcomes = [outcome.value for outcome in OutcomeKind]
    parser.add_argument("--device", metavar="D", help="only this device: its name or id")
    parser.add_argument("--outcome", metavar="O", choices=outcomes, help=f"only this outcome: {', '.join(outcomes)}")
    parser.add_argument("--limit", metavar="N", type=_limit, default=TRANSACTIONS_USUAL, help="at most so many")


def _place(text: str) -> Place:
    """``KIND:PATH``; the path is meant from the directory where the person is."""
    kind, colon, path = text.partition(":")
    if not colon or not kind or not path:
        raise argparse.ArgumentTypeError(f"{text!r} is not KIND:PATH, as sqlite:notes.db")
    try:
        return Place(kind, os.path.abspath(Path(path).expanduser()))
    except (RuntimeError, ValueError) as error:
        raise argparse.ArgumentTypeError(f"{path!r}: {error}") from error


def _address(text: str) -> str:
    try:
        split_address(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return text


def _limit(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= TRANSACTIONS_MAX):
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 to {TRANSACTIONS_MAX}")
    return int(text)
