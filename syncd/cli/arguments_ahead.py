"""The words of the verbs that look before anything is done: preview, holds."""

from __future__ import annotations

import argparse
from collections.abc import Callable

# What can be previewed, with what is said about it.
_PREVIEWS = {
    "settings": "of `settings set`, `unset` or `import`, which are written after it in the same way",
    "devices": "of `devices link`, written in the same way",
    "pair": "of what a device would get that is paired",
    "approve": "of `approve`",
    "reject": "of `reject`",
    "undo": "of `undo`",
}


def preview(
    parser: argparse.ArgumentParser,
    again: argparse.ArgumentParser,
    settings: Callable[[argparse.ArgumentParser], None],
) -> None:
    """The words of the verb that is previewed are the same as without `preview`. ``again``: the options of all verbs;
    ``settings``: adds the words of `settings`."""
    of = parser.add_subparsers(dest="of", metavar="VERB", required=True)
    made: dict[str, argparse.ArgumentParser] = {}
    for name, help_ in _PREVIEWS.items():
        made[name] = of.add_parser(name, help=help_, description=help_, parents=[again], allow_abbrev=False)
        if name not in ("pair", "devices"):
            _apply(made[name])
    settings(made["settings"])
    what = made["devices"].add_subparsers(dest="what", metavar="WHAT", required=True)
    link = what.add_parser("link", parents=[again], allow_abbrev=False)
    link.add_argument("device", metavar="DEVICE", help="its name, or the beginning of its id")
    link.add_argument("user", metavar="USER")
    _apply(link)
    made["pair"].add_argument("--user", metavar="NAME", default="", help="for whom (usual: the configured user)")
    for name in ("approve", "reject", "undo"):
        made[name].add_argument("group", metavar="GROUP", help="as notes:912" if name == "undo" else "as notes:held-1")


def _apply(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--apply", metavar="HASH", default="", help="do just what was shown with this hash, or nothing")


def holds(parser: argparse.ArgumentParser) -> None:
    parser.usage = "syncd holds COLLECTION [TABLE] KEY | --device D [COLLECTION [--all]] [options]"
    parser.add_argument(
        "words",
        metavar="WORD",
        nargs="*",
        help="an object, named as for `syncd history`; with --device a collection, without it all of them",
    )
    parser.add_argument("--device", metavar="D", default="", help="what this device holds: its name, or part of its id")
    parser.add_argument("--all", action="store_true", help="with --device: each object, one a line")
