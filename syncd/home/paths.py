"""Where the home directory is and what lies where in it (DESIGN §6, contract *Home*)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from syncd.core.errors import HomeError
from syncd.home.config import load
from syncd.home.files import unreadable

SYSTEM_HOME = Path("/var/lib/syncd")
SOCKET_NAME = "syncd.sock"
SOCKET_BYTES_MAX = 107  # the kernel's sun_path holds 108 bytes with the final NUL


def find_home(option: str | None, environ: Mapping[str, str]) -> Path:
    """The home directory: ``--home``, $SYNCD_HOME, what systemd gives a service, the XDG state directory, the system's.

    A service of the system has $STATE_DIRECTORY; its $HOME, where it has one, is no person's.
    """
    if option is not None:
        return _absolute(option, "--home")
    if chosen := environ.get("SYNCD_HOME"):
        return _absolute(chosen, "SYNCD_HOME")
    if given := environ.get("STATE_DIRECTORY", "").split(":")[0]:
        return Path(given)
    state = environ.get("XDG_STATE_HOME", "")
    if state.startswith("/"):  # the XDG specification: a relative path is ignored
        return Path(state) / "syncd"
    user_home = environ.get("HOME", "")
    if user_home.startswith("/") and user_home != "/":
        return Path(user_home) / ".local" / "state" / "syncd"
    return SYSTEM_HOME


def _absolute(text: str, origin: str) -> Path:
    if not text or "\0" in text:
        raise HomeError(f"{origin} names no directory", "give the path of a directory")
    try:
        return Path(os.path.abspath(Path(text).expanduser()))
    except RuntimeError as error:  # "~name" of nobody
        raise HomeError(f"{origin} {text!r}: {error}", "give the whole path") from error


class Home:
    """One home directory and the names of what it holds. Nothing is touched before it is asked for."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __repr__(self) -> str:
        return f"Home({str(self.path)!r})"

    @property
    def config(self) -> Path:
        """What the person set: role, names, collections."""
        return self.path / "config.toml"

    @property
    def identity(self) -> Path:
        """Private key and certificate of this device, one PEM file, 0600."""
        return self.path / "identity.pem"

    @property
    def sync_store(self) -> Path:
        return self.path / "store.db"

    @property
    def sync_database(self) -> Path:
        return self.path / "sync.db"

    @property
    def inbound(self) -> Path:
        return self.path / "inbound.db"

    @property
    def outbox(self) -> Path:
        """What an auxiliary's applications changed, until it is settled."""
        return self.path / "outbox.db"

    @property
    def uploads(self) -> Path:
        """The primary's inbound queue, with verdicts and conflicts."""
        return self.path / "uploads.db"

    @property
    def lock(self) -> Path:
        """Held by the one daemon of this home."""
        return self.path / "lock"

    @property
    def socket(self) -> Path:
        """The control socket: ``socket`` of config.toml (a relative path begins in the home), else in the home."""
        configured = load(self).socket if self.initialized else ""
        path = self.path / (configured or SOCKET_NAME)
        length = len(os.fsencode(path))
        if length > SOCKET_BYTES_MAX:
            raise HomeError(
                f"the path of the control socket, {path}, has {length} bytes; the system allows {SOCKET_BYTES_MAX}",
                f"set `socket` in {self.config} to a shorter absolute path",
            )
        return path

    @property
    def initialized(self) -> bool:
        """Whether ``syncd init`` was run here."""
        try:
            return self.config.exists()
        except OSError as error:
            raise unreadable(self.path, error) from error

    def create(self) -> None:
        """Makes the directory, for its owner alone (0700). One that is there stays; it must not be open to others."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.mkdir(mode=0o700, exist_ok=True)
            if self.path.stat().st_mode & 0o077:
                if any(self.path.iterdir()):
                    raise HomeError(
                        f"the directory {self.path} is open to other users of this machine",
                        f"choose another home or run `chmod 700 {self.path}`",
                    )
                self.path.chmod(0o700)
        except OSError as error:
            raise HomeError(
                f"cannot make the home {self.path}: {error.strerror}", "choose another directory with --home"
            ) from error
