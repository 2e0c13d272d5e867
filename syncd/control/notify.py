"""Tells systemd how the daemon is (sd_notify): ready, status, watchdog, stopping. Silent without NOTIFY_SOCKET."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping

_STATUS_BYTES_MAX = 512


class Notifier:
    """Sends datagrams to the service manager that the environment names.

    ``watchdog_s``: how often ``watchdog`` must be called (half of what the manager waits); None: not at all.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        name = environ.get("NOTIFY_SOCKET", "")
        self._address = "\0" + name[1:] if name.startswith("@") else name
        self.watchdog_s = _watchdog_s(environ) if name else None

    def ready(self, status: str = "") -> None:
        self._send("READY=1" + _status(status))

    def status(self, text: str) -> None:
        self._send(_status(text).lstrip("\n"))

    def watchdog(self) -> None:
        self._send("WATCHDOG=1")

    def stopping(self) -> None:
        self._send("STOPPING=1")

    def _send(self, text: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as link:
                link.connect(self._address)
                link.send(text.encode())
        except OSError:
            pass  # a manager that does not listen is no reason to stop; it judges silence by itself


def _status(text: str) -> str:
    """One line of bounded length: a line break would begin another assignment."""
    if not text:
        return ""
    one_line = "".join(char if char.isprintable() else " " for char in text)
    return "\nSTATUS=" + one_line.encode()[:_STATUS_BYTES_MAX].decode(errors="ignore")


def _watchdog_s(environ: Mapping[str, str]) -> float | None:
    owner = environ.get("WATCHDOG_PID", "")
    if owner and owner != str(os.getpid()):
        return None
    try:
        waits_us = int(environ.get("WATCHDOG_USEC", ""))
    except ValueError:
        return None
    return waits_us / 2_000_000 if waits_us > 0 else None
