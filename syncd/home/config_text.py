"""config.toml as text: a writer of TOML for just this shape, with a word on each field for the person who edits it."""

from __future__ import annotations

import json

from syncd.core.model import Role
from syncd.home.config_values import Collection, Config

_HEAD = """\
# Configuration of syncd on this device. `syncd share`, `accept` and `users rename` write this file anew, without
# comments of your own. It is read when the daemon starts.
"""


def write(config: Config) -> str:
    """The whole file."""
    lines = [
        _HEAD,
        _line("role", config.role.value, "primary or auxiliary; chosen once, by `syncd init`"),
        _line("name", config.name, "what other devices call this one"),
    ]
    if config.role is Role.PRIMARY:
        lines += [
            _line("user", config.user, "whose data it is"),
            _line("listen", config.listen, "HOST:PORT where auxiliaries connect"),
        ]
    else:
        lines += [
            _line("adapter", config.adapter, "form of the messages to this device: msgpack or json"),
            _line("addresses", config.addresses, "HOST:PORT where the primary is dialed besides where it was found"),
        ]
    lines += [
        _line("discovery", config.discovery, "be found, or find the primary, on the local network (mDNS)"),
        _line("interfaces", config.interfaces, "network interfaces for that, by name or address; empty: all"),
        _line("interfaces_excluded", config.interfaces_excluded, "and those that are left out"),
        _line("socket", config.socket, "control socket; empty: syncd.sock in this directory"),
        _line("socket_group", config.socket_group, "group that may ask for the status; empty: none"),
        _line("log_level", config.log_level, "debug, info, warning or error"),
    ]
    for entry in config.collections:
        lines += ["", "[[collections]]", *_collection(entry, config.role)]
    return "\n".join(lines) + "\n"


def _collection(entry: Collection, role: Role) -> list[str]:
    lines = [_line("name", entry.name), _line("kind", entry.kind), _line("path", entry.path)]
    if role is Role.PRIMARY:
        lines += [
            _line("tables", entry.tables, "empty: every table that has a primary key"),
            _line("user", entry.user, "whose it is; empty: the user above"),
        ]
    else:
        lines += [
            _line("replace", entry.replace, "what the target held of its own may be replaced"),
            _line("merge", entry.merge, "or is offered to the primary, when the target is first filled"),
            _line("keep_edits", entry.keep_edits, "what is changed here stays where nothing may travel to the primary"),
        ]
    return lines


def _line(key: str, value: str | bool | tuple[str, ...], comment: str = "") -> str:
    text = f"{key} = {_value(value)}"
    return f"{text}  # {comment}" if comment else text


def _value(value: str | bool | tuple[str, ...]) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return f"[{', '.join(_string(item) for item in value)}]"
    return _string(value)


def _string(text: str) -> str:
    """A TOML basic string. JSON's escapes are among TOML's; DEL must be escaped in TOML only."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
