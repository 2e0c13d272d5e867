"""The verbs about people and their devices: pairing, users, devices, revocation."""

from __future__ import annotations

import sys
from collections.abc import Callable

from syncd.cli.call import Call
from syncd.cli.fields import Json, clean, number, records, text, texts
from syncd.cli.words import ago_or_never, count, duration
from syncd.core.errors import SyncdError
from syncd.core.model import show_device

_SHORT_S = 15.0  # the daemon answers from memory or writes one row
_PAIR_S = 60.0  # the daemon finds and dials the primary
_WAIT_S = 330.0  # a person types a code
_TOKEN_MAX = 4_000  # characters; it holds addresses


def pair(call: Call) -> int:
    return _pair_with(call) if call.given.shown else _pair_open(call)


def _pair_with(call: Call) -> int:
    """On an auxiliary, with the code or token that the primary showed."""
    given = call.given
    told = call.ask("pair", _PAIR_S, shown=given.shown, address=given.address, replace=given.replace)
    if call.json(told):
        return 0
    for backup in texts(told, "backups"):
        print(f"a copy of what was there is in {backup}")
    print(f"paired with {text(told, 'name')}, the primary of user {text(told, 'user')}: {_id(told)}")
    if told.get("linked") is False:
        print("  not linked yet: it is dialed until it answers, for five minutes; `syncd status` says why it does not")
    return 0


def _pair_open(call: Call) -> int:
    """On the primary: shows a code or token; a code is waited for, so that the person sees who came."""
    given = call.given
    by_token = given.token or given.qr
    told = call.ask("pair_open", _SHORT_S, token=by_token, user=given.user)
    if call.json(told):
        return 0
    if not by_token:
        return _wait(call, told)
    token = clean(told.get("token"), _TOKEN_MAX)
    if given.qr:
        from syncd.cli import qr

        print(f"on the other machine, once: `syncd pair` and this token, for user {text(told, 'user')}")
        qr.show(token)
    print(token)
    return 0


def _show_code(code: str, told: Json) -> None:
    lasts, user, places = duration(number(told, "expires_s")), text(told, "user"), texts(told, "addresses")
    print(f"on the other machine, within {lasts}, once (it is linked with user {user}):\n\n  syncd pair {code}\n")
    if places:
        print(f"where it does not find this machine: add --address {places[0]}")
    print("waiting for it; Ctrl-C makes the code void", flush=True)


def _wait(call: Call, told: Json) -> int:
    code = text(told, "code")
    try:
        _show_code(code, told)  # what it says of Ctrl-C holds as soon as it is said
        came = call.ask("pair_wait", _WAIT_S, shown=code)
    except KeyboardInterrupt:
        call.ask("pair_close", _SHORT_S, shown=code)
        print(f"\npairing with {code} is closed", file=sys.stderr)
        return 1
    if not came.get("linked"):
        raise SyncdError(text(came, "reason") or "nobody came", "", "failed")
    print(f"linked {text(came, 'name')} with user {text(came, 'user')}: {_id(came)}")
    return 0


def users(call: Call) -> int:
    given = call.given
    match given.what:
        case "add":
            told = call.ask("user_add", _SHORT_S, user=given.user)
            done = f"user {clean(given.user)} is added; next: `syncd pair --user {clean(given.user)}`"
        case "rename":
            told = call.ask("user_rename", _SHORT_S, user=given.user, name=given.name)
            done = f"user {clean(given.user)} is called {text(told, 'user')}"
        case _:
            told = call.ask("users", _SHORT_S)
            if not call.json(told):
                _list_users(told)
            return 0
    if not call.json(told):
        print(done)
    return 0


def _list_users(told: Json) -> None:
    for user in records(told, "users"):
        devices = ", ".join(text(one, "name") for one in records(user, "devices")) or "no devices"
        collections = ", ".join(texts(user, "collections")) or "no collections"
        print(f"{text(user, 'name')}: {collections}; on {devices}")


def devices(call: Call) -> int:
    given = call.given
    if given.what in ("", None, "list"):
        told = call.ask("devices", _SHORT_S)
        if not call.json(told):
            _list_devices(told)
        return 0
    told, done = _CHANGES[given.what](call)
    if not call.json(told):
        print(done)
    return 0


def _rename(call: Call) -> tuple[Json, str]:
    given = call.given
    told = call.ask("device_rename", _SHORT_S, device=given.device, name=given.name)
    return told, f"{clean(given.device)} is called {text(told, 'name')} here"


def _link(call: Call) -> tuple[Json, str]:
    given = call.given
    told = call.ask("device_link", _SHORT_S, device=given.device, user=given.user)
    return told, _linked(told)


def _unlink(call: Call) -> tuple[Json, str]:
    given = call.given
    told = call.ask("device_unlink", _SHORT_S, device=given.device, user=given.user)
    return told, _linked(told)


def _linked(told: Json) -> str:
    users = ", ".join(texts(told, "users"))
    return f"{text(told, 'name')} is linked with {users}" if users else f"{text(told, 'name')} is linked with no user"


def _allow(call: Call) -> tuple[Json, str]:
    told = call.ask("device_allow", _SHORT_S, device=call.given.device)
    return told, f"{text(told, 'name')} may come in again; it dials by itself within half a minute"


_CHANGES: dict[str, Callable[[Call], tuple[Json, str]]] = {
    "rename": _rename,
    "link": _link,
    "unlink": _unlink,
    "allow": _allow,
}


def _list_devices(told: Json) -> None:
    rows = records(told, "devices")
    if not rows:
        print("no devices: `syncd pair` links one")
    for one in rows:
        own = f", calls itself {text(one, 'own_name')}" if text(one, "own_name") != text(one, "name") else ""
        users = ", ".join(texts(one, "users")) or "no user"
        print(f"{text(one, 'name')}: {text(one, 'role')} of {users}, {_standing(one)}{own}")
        print(f"    {_id(one)}")
        for held in records(one, "collections"):
            print(f"    holds {_holding(held)}")


def _standing(one: Json) -> str:
    if text(one, "revoked"):
        return f"revoked {ago_or_never(one.get('revoked'))}"
    if text(one, "copied"):
        return f"held back: two machines use its identity; `syncd devices allow {text(one, 'name')}` when one is gone"
    return "connected" if one.get("connected") is True else f"last seen {ago_or_never(one.get('last_seen'))}"


def revoke(call: Call) -> int:
    told = call.ask("revoke", _SHORT_S, device=call.given.device)
    if call.json(told):
        return 0
    print(f"{text(told, 'name')} is revoked: {_id(told)}")
    print(f"  it gets nothing any more; it was last seen {ago_or_never(told.get('last_seen'))}")
    held = records(told, "collections")
    for one in held:
        print(f"  it held {_holding(one)}")
    if not held:
        print("  it held nothing, as far as it said")
    return 0


def _holding(held: Json) -> str:
    return f"{count(number(held, 'objects'), 'object')} of {text(held, 'name')}, as of {number(held, 'position')}"


def _id(told: Json) -> str:
    return show_device(text(told, "device") or text(told, "id"))


VERBS: dict[str, Callable[[Call], int]] = {"pair": pair, "users": users, "devices": devices, "revoke": revoke}
