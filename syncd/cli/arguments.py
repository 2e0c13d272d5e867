"""The words of the command line (DESIGN §6). A line that cannot be understood is a UsageError, never a traceback."""

from __future__ import annotations

import argparse
import copy
import os
import sys
from pathlib import Path
from typing import NamedTuple, NoReturn

from syncd import __version__
from syncd.cli import arguments_ahead
from syncd.core.edits import Direction, Policy
from syncd.core.errors import UserError
from syncd.core.model import OutcomeKind, Role
from syncd.home.config import split_address

TRANSACTIONS_USUAL = 50
TRANSACTIONS_MAX = 10_000
HISTORY_USUAL = 50


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
    _pair(verb("pair", "Link two devices: shows a code on the primary, takes it on the auxiliary.", asks))
    _users(verb("users", "Users of this primary: list, add, rename.", asks), _once_more(asks))
    _devices(verb("devices", "Devices of this primary: list, rename, link, unlink, allow.", asks), _once_more(asks))
    revoke = verb("revoke", "Cut a device off, and tell what it held.", asks)
    revoke.add_argument("device", metavar="DEVICE", help="its name, or the beginning of its id")
    _status(verb("status", "Show where everything stands.", asks))
    _transactions(verb("transactions", "Show groups and what became of them, per device.", asks))
    retry = verb("retry", "Execute parked groups again.", asks)
    retry.add_argument("group", metavar="GROUP", nargs="?", help="one group, as notes:912; without it, all of them")
    _conflicts(verb("conflicts", "Show what was changed on both sides, or was refused.", asks))
    _resolve(verb("resolve", "On the primary: settle a conflict by hand.", asks))
    undo = verb("undo", "On the primary: make a group that undoes one.", asks)
    undo.add_argument("group", metavar="GROUP", help="as notes:912")
    verb("held", "On the primary: what is held until a person decides.", asks)
    approve = verb(
        "approve", "On the primary: a held group goes to all devices, a held change of settings is made.", asks
    )
    reject = verb(
        "reject",
        "On the primary: give the application back what a held group deleted, forget a held change of settings.",
        asks,
    )
    for deciding in (approve, reject):
        deciding.add_argument("group", metavar="GROUP", help="as notes:held-1 or settings-1")
    _history(verb("history", "On the primary: who changed an object, when, and what.", asks))
    _resend(verb("resend", "On an auxiliary: make the changes of a refused group again.", asks))
    dismiss = verb("dismiss", "On an auxiliary: forget a refused group.", asks)
    dismiss.add_argument("number", metavar="NUMBER", help="as `syncd conflicts` shows it")
    _settings(verb("settings", "On the primary: what is synchronized which way, how, and what is kept.", asks))
    _turn(verb("pause", "Nothing travels until `syncd resume`; on an auxiliary, nothing to or from it.", asks))
    _turn(verb("resume", "What was paused goes on.", asks))
    _turn(verb("now", "On the primary: what rests travels at once, and then rests again.", asks))
    ahead = verb("preview", "On the primary: what a decision would do, before it is made.", asks)
    arguments_ahead.preview(ahead, _once_more(asks), _settings)
    arguments_ahead.holds(verb("holds", "On the primary: which devices hold an object, or what a device holds.", asks))
    if not argv:
        parser.print_help(sys.stderr)
        parser.exit(2)
    parsed = parser.parse_args(argv)
    _check(parsed)
    return parsed


def _check(parsed: argparse.Namespace) -> None:
    """What argparse cannot say of the words of a verb."""
    of = getattr(parsed, "of", parsed.verb)  # of a preview the verb that it is of
    checks = {"conflicts": _check_conflicts, "settings": _check_settings, "holds": _check_holds}
    if parsed.verb == "pair":
        _check_pair(parsed)
    elif of in checks:
        checks[of](parsed)


def _once_more(options: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """The same options for the words after a verb; suppressed there, so that they do not undo what stood before."""
    again = copy.deepcopy(options)
    for action in again._actions:  # argparse has no other way to them
        action.default = argparse.SUPPRESS
    return again


def _init(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--role", required=True, choices=[role.value for role in Role], help="what it is for the user")
    parser.add_argument("--user", metavar="NAME", default="", help="primary: whose data it is")
    parser.add_argument("--name", metavar="DEVICE", default="", help="name of this device (usual: the host name)")
    parser.add_argument(
        "--listen", metavar="HOST:PORT", default="", help="primary: address to listen at; port 0: a free one"
    )
    parser.add_argument(
        "--no-discovery", action="store_true", help="no mDNS: devices find each other by addresses alone"
    )
    parser.add_argument(
        "--interface",
        dest="interfaces",
        metavar="I",
        action="append",
        default=[],
        help="be found, or find, on this network interface only (its name or an address; may be repeated)",
    )
    parser.add_argument(
        "--exclude-interface",
        dest="interfaces_excluded",
        metavar="I",
        action="append",
        default=[],
        help="not on this network interface (may be repeated)",
    )
    parser.add_argument(
        "--address",
        dest="addresses",
        metavar="HOST:PORT",
        type=_address,
        action="append",
        default=[],
        help="auxiliary: where the primary is dialed besides where it is found (may be repeated)",
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
    parser.add_argument("--user", metavar="NAME", default="", help="whose it is (usual: the user of this primary)")
    parser.add_argument(
        "--direction",
        choices=[one.value for one in Direction],
        default="",
        help="which way changes travel: both (usual), out (from here only), in (to here only); may be changed later",
    )
    parser.add_argument(
        "--conflicts",
        choices=[one.value for one in Policy],
        default="",
        help="who wins where both sides changed an object (usual: primary); may be changed later",
    )


def _accept(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("collection", metavar="COLLECTION", help="its name on the primary")
    parser.add_argument(
        "--into", dest="place", metavar="KIND:PATH", required=True, type=_place, help="as sqlite:notes.db"
    )
    held = parser.add_mutually_exclusive_group()
    held.add_argument("--replace", action="store_true", help="replace what the target holds, after a backup copy")
    held.add_argument(
        "--merge", action="store_true", help="offer what the target holds to the primary, after a backup copy"
    )
    parser.add_argument(
        "--keep-edits",
        action=argparse.BooleanOptionalAction,
        help="changes made here stay where the collection comes from the primary only",
    )


def _pair(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shown", metavar="CODE|TOKEN", nargs="?", help="auxiliary: what the primary showed")
    parser.add_argument("--user", metavar="NAME", default="", help="primary: for whom (usual: the configured user)")
    parser.add_argument("--token", action="store_true", help="primary: print a token, one line for scripts, and end")
    parser.add_argument("--qr", action="store_true", help="primary: the token as a picture, too")
    parser.add_argument(
        "--replace", action="store_true", help="auxiliary: take another primary's data, after a backup copy of its own"
    )
    parser.add_argument(
        "--address", metavar="HOST:PORT", type=_address, help="auxiliary: where the primary pairs, if it is not found"
    )


def _check_pair(parsed: argparse.Namespace) -> None:
    if parsed.shown and (parsed.token or parsed.qr or parsed.user):
        raise UsageError("what shows a code takes none", "to use one: `syncd pair CODE` on the auxiliary")
    if (parsed.address or parsed.replace) and not parsed.shown:
        raise UsageError("--address and --replace need a code or token", "use `syncd pair CODE --address HOST:PORT`")


def _users(parser: argparse.ArgumentParser, options: argparse.ArgumentParser) -> None:
    what = parser.add_subparsers(dest="what", metavar="WHAT")
    what.add_parser("list", help="who there are; the same without a word", parents=[options], allow_abbrev=False)
    add = what.add_parser("add", help="one more user of this primary", parents=[options], allow_abbrev=False)
    add.add_argument("user", metavar="NAME")
    rename = what.add_parser("rename", help="another name for a user", parents=[options], allow_abbrev=False)
    rename.add_argument("user", metavar="NAME")
    rename.add_argument("name", metavar="NEW")


def _devices(parser: argparse.ArgumentParser, options: argparse.ArgumentParser) -> None:
    what = parser.add_subparsers(dest="what", metavar="WHAT")
    what.add_parser("list", help="what each holds; the same without a word", parents=[options], allow_abbrev=False)
    for name, help_, more in (
        ("rename", "another name for a device, here", "name"),
        ("link", "it takes this user's collections, too", "user"),
        ("unlink", "it takes this user's collections no more", "user"),
        ("allow", "one machine alone uses its identity: let it in again", ""),
    ):
        change = what.add_parser(name, help=help_, parents=[options], allow_abbrev=False)
        change.add_argument("device", metavar="DEVICE", help="its name, or the beginning of its id")
        if more:
            change.add_argument(more, metavar=more.upper())


def _status(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--watch", action="store_true", help="go on showing it until Ctrl-C")


def _transactions(parser: argparse.ArgumentParser) -> None:
    outcomes = [outcome.value for outcome in OutcomeKind]
    parser.add_argument("--device", metavar="D", help="only this device: its name or id")
    parser.add_argument("--outcome", metavar="O", choices=outcomes, help=f"only this outcome: {', '.join(outcomes)}")
    parser.add_argument("--limit", metavar="N", type=_limit, default=TRANSACTIONS_USUAL, help="at most so many")


def _conflicts(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "words", metavar="COLLECTION | show ID", nargs="*", help="of this collection only; or one with all its versions"
    )
    parser.add_argument("--all", action="store_true", help="the resolved too; of one: all its fields")


def _check_conflicts(parsed: argparse.Namespace) -> None:
    """``shown``: which one is to be shown; ``collection``: of which the others are listed."""
    words = parsed.words
    if len(words) > 2 or (len(words) == 2 and words[0] != "show"):
        raise UsageError("conflicts takes a collection, or `show` and an id", "see `syncd conflicts --help`")
    parsed.shown = words[1] if len(words) == 2 else ""
    parsed.collection = words[0] if len(words) == 1 else ""


def _resolve(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("id", metavar="ID", help="as `syncd conflicts` shows it")
    parser.add_argument(
        "--take",
        metavar="ours|theirs|both|FILE",
        required=True,
        help="the primary's version, the auxiliary's, both, or what `syncd conflicts show ID --json` printed, edited",
    )


def _history(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("collection", metavar="COLLECTION")
    parser.add_argument(
        "words",
        metavar="[TABLE] KEY",
        nargs="+",
        help="the table, where the key alone does not tell, and the key, one word for each of its columns",
    )
    parser.add_argument("--limit", metavar="N", type=_limit, default=HISTORY_USUAL, help="at most so many versions")


def _resend(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("number", metavar="NUMBER", help="as `syncd conflicts` shows it")
    parser.add_argument(
        "--from",
        dest="file",
        metavar="FILE",
        default="",
        help="what `syncd conflicts show NUMBER --json` printed, edited",
    )
    parser.add_argument(
        "--new-keys",
        action="store_true",
        help="what was added, and whose key another object has by now, gets another; so does what names it",
    )


# What `syncd settings` does with the words after it -> how many there are at least and at most.
_SETTINGS = {"set": (2, 2), "unset": (1, 1), "explain": (1, 1), "journal": (0, 0), "export": (0, 1), "import": (1, 1)}
_SETTINGS_HELP = """\
  syncd settings [COLLECTION]                  what counts, and where it comes from
  syncd settings set [COLLECTION.]NAME VALUE   for a user, or with --device for a device
  syncd settings unset [COLLECTION.]NAME
  syncd settings explain [COLLECTION.]NAME     all places that may decide
  syncd settings journal                       what was changed, when and by whom
  syncd settings export [FILE]                 all that was set, as TOML
  syncd settings import FILE                   all of it or nothing; prints what changes
"""


def _settings(parser: argparse.ArgumentParser) -> None:
    parser.usage = "syncd settings [COLLECTION | set | unset | explain | journal | export | import] [options]"
    parser.epilog, parser.formatter_class = _SETTINGS_HELP, argparse.RawDescriptionHelpFormatter
    parser.add_argument("words", metavar="WORD", nargs="*", help="see below; without any: what counts in general")
    parser.add_argument(
        "--device", metavar="D", default="", help="on this device: its name, or the beginning of its id"
    )
    parser.add_argument("--user", metavar="U", default="", help="of this user (usual: the user of this primary)")
    parser.add_argument(
        "--limit", metavar="N", type=_limit, default=TRANSACTIONS_USUAL, help="journal: at most so many"
    )


def _check_settings(parsed: argparse.Namespace) -> None:
    """``what``: what is to be done, empty where it is to be shown; ``words``: the others."""
    what, *words = parsed.words or [""]
    least, most = _SETTINGS.get(what, (0, 0))
    if not least <= len(words) <= most:
        raise UsageError(f"`syncd settings {what}` takes other words", "see `syncd settings --help`")
    if what not in _SETTINGS:
        what, words = "", [what]
    if what in ("journal", "export", "import") and (parsed.device or parsed.user):
        raise UsageError(f"`syncd settings {what}` takes no --device and no --user", "leave them out")
    parsed.what, parsed.words = what, words


def _turn(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("collection", metavar="COLLECTION", nargs="?", default="", help="only this one")
    parser.add_argument("--device", metavar="D", default="", help="on the primary: on this device")
    parser.add_argument("--user", metavar="U", default="", help="on the primary: of this user")


def _check_holds(parsed: argparse.Namespace) -> None:
    """``of_device``: a device is asked for, not an object."""
    parsed.of_device, words = bool(parsed.device), parsed.words
    if parsed.of_device and (len(words) > 1 or (parsed.all and not words)):
        raise UsageError("with --device it takes a collection, which --all needs", "see `syncd holds --help`")
    if not parsed.of_device and (len(words) < 2 or parsed.all):
        raise UsageError("holds takes a collection and a key, or --device", "see `syncd holds --help`")


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
