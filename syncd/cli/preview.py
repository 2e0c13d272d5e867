"""The verb that shows what a decision would do before it is made, and does just that."""

from __future__ import annotations

from collections.abc import Callable

from syncd.cli.call import Call
from syncd.cli.fields import Json, text
from syncd.cli.settings import read_file
from syncd.core.errors import SyncdError, UserError

_LONG_S = 620.0  # the daemon looks at whole collections


def preview(call: Call) -> int:
    what, args = _asked(call)
    told = call.ask("preview", _LONG_S, what=what, args=args, apply=getattr(call.given, "apply", ""))
    if not call.json(told):
        from syncd.cli import show_preview

        show_preview.preview(told)
    if refused := text(told, "refused"):
        raise SyncdError(refused, f"look at what it would do now, then --apply {text(told, 'hash')}", "moved")
    return 0


def _asked(call: Call) -> tuple[str, Json]:
    """The verb that is previewed, as the daemon calls it, and its arguments."""
    given = call.given
    match given.of:
        case "settings":
            return _settings(call)
        case "devices":
            return "device_link", {"device": given.device, "user": given.user}
        case "pair":
            return "pair", {"user": given.user}
        case _:
            return given.of, {"group": given.group}


def _settings(call: Call) -> tuple[str, Json]:
    given = call.given
    place: Json = {"device": given.device, "user": given.user}
    match given.what:
        case "set":
            return "settings_set", {"name": given.words[0], "value": given.words[1], **place}
        case "unset":
            return "settings_unset", {"name": given.words[0], **place}
        case "import":
            return "settings_import", {"toml": read_file(given.words[0])}
        case _:
            raise UserError("only what changes settings has a preview", "say set, unset or import")


VERBS: dict[str, Callable[[Call], int]] = {"preview": preview}
