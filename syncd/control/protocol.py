"""What is said on the control socket: one JSON object per line in, one per line out.

Owns the table of verbs, the shape of requests and answers, and the errors of this room. A request is
``{"verb": "status", ...arguments}``; an empty line or ``{}`` asks for the status. An answer is
``{"ok": true, "result": {...}}`` or ``{"ok": false, "error": {"code", "text", "advice"}}``.
"""

from __future__ import annotations

import json
from typing import NamedTuple

from syncd.core.errors import SyncdError, UserError

# Verb -> it only reads. Members of the socket's group may use the verbs that only read.
VERBS: dict[str, bool] = {
    "status": True,
    "transactions": True,
    "share": False,
    "accept": False,
    "pair_open": False,
    "pair_wait": False,
    "pair_close": False,
    "pair": False,
    "users": True,
    "user_add": False,
    "user_rename": False,
    "devices": True,
    "device_rename": False,
    "device_link": False,
    "device_unlink": False,
    "device_allow": False,
    "revoke": False,
    "retry": False,
    "conflicts": True,
    "conflict": False,
    "resolve": False,
    "undo": False,
    "preview": False,
    "holds": False,
    "holds_device": False,
    "holds_objects": False,
    "held": True,
    "approve": False,
    "reject": False,
    "history": False,
    "resend": False,
    "dismiss": False,
    "settings": True,
    "settings_explain": True,
    "settings_journal": True,
    "settings_export": True,
    "settings_set": False,
    "settings_unset": False,
    "settings_import": False,
    "pause": False,
    "resume": False,
    "now": False,
}

ANSWER_BYTES_MAX = 16 * 1024 * 1024  # a longer answer is not read


class DaemonNotRunning(UserError):
    """Nobody listens on the socket of this home."""

    code = "not-running"


class DaemonSilent(SyncdError):
    """The daemon took the request and did not answer it as agreed, or not in time."""

    code = "no-answer"


class RequestError(UserError):
    """A line that is no request."""

    code = "bad-request"


class NotAllowed(UserError):
    """The other end of the socket may not use the verb."""

    code = "not-allowed"


class Request(NamedTuple):
    """A verb with its arguments."""

    verb: str
    args: dict[str, object]


def parse_request(line: bytes) -> Request:
    """The request of one line. Raises RequestError for anything else."""
    if not line.strip():
        return Request("status", {})
    try:
        value: object = json.loads(line)
        json.dumps(value, ensure_ascii=False).encode()  # half a character can be neither kept nor shown
    except (ValueError, RecursionError) as error:
        raise RequestError("the line is not JSON", 'send one object per line, as {"verb": "status"}') from error
    if not isinstance(value, dict):
        raise RequestError("the line is no JSON object", 'send one object per line, as {"verb": "status"}')
    args: dict[str, object] = value
    verb = args.pop("verb", "status")
    if not isinstance(verb, str) or verb not in VERBS:
        raise RequestError(f"unknown verb {str(verb)[:64]!r}", f"the verbs are {', '.join(VERBS)}")
    return Request(verb, args)


def encode_request(verb: str, args: dict[str, object]) -> bytes:
    """One line, the end of the line included."""
    return _line({**args, "verb": verb})


def encode_result(result: dict[str, object]) -> bytes:
    return _line({"ok": True, "result": result})


def encode_error(error: SyncdError) -> bytes:
    return _line({"ok": False, "error": {"code": error.code, "text": error.text, "advice": error.advice}})


def parse_answer(line: bytes) -> dict[str, object]:
    """The result of an answer; the daemon's error is raised as a SyncdError with its code, text and advice."""
    try:
        value: object = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DaemonSilent("the daemon's answer is not JSON", "check that both are of one version") from error
    if isinstance(value, dict):
        match value:
            case {"ok": True, "result": dict(result)}:
                return result
            case {"ok": False, "error": {"code": str(code), "text": str(text), "advice": str(advice)}}:
                raise SyncdError(text, advice, code)
    raise DaemonSilent("the daemon's answer has another shape", "check that both are of one version")


def _line(value: dict[str, object]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode() + b"\n"
