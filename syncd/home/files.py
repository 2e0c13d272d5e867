"""How a file of the home is read, and written: whole or not at all, durable, for its owner alone."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from pathlib import Path

from syncd.core.errors import DiskFull, HomeError


def write(path: Path, data: bytes, replace: bool) -> None:
    """Writes ``data`` to ``path`` with mode 0600. Without ``replace``, a file that is there stays and is an error.

    The file belongs to whom the directory belongs to: root may arrange the home of a service that runs as another
    user.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                if os.geteuid() == 0:
                    owner = path.parent.stat()
                    os.fchown(file.fileno(), owner.st_uid, owner.st_gid)
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            if replace:
                os.replace(temporary, path)
            else:
                os.link(temporary, path)  # fails where rename would overwrite
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)
        _sync_directory(path.parent)
    except FileExistsError as error:
        raise HomeError(f"{path} is there already", "choose another home or remove this one") from error
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise DiskFull(f"cannot write {path}: no room on the disk", "free some space") from error
        raise HomeError(f"cannot write {path}: {error.strerror}", "run this as the user who owns the home") from error


def read(path: Path, bytes_max: int, secret: bool) -> bytes:
    """Reads a file of the home. A larger one than ``bytes_max`` is refused, and a secret that others can read."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a FIFO must not block
        try:
            mode = os.fstat(descriptor).st_mode
            if not stat.S_ISREG(mode):
                raise HomeError(f"{path} is not a file", "remove it, or choose another home")
            if secret and mode & 0o077:
                raise HomeError(f"other users of this machine can read {path}", f"run `chmod 600 {path}`")
            with os.fdopen(descriptor, "rb", closefd=False) as file:
                data = file.read(bytes_max + 1)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise unreadable(path, error) from error
    if len(data) > bytes_max:
        raise HomeError(f"{path} is larger than {bytes_max} bytes", "put back what belongs there")
    return data


def unreadable(path: Path, error: OSError) -> HomeError:
    """The error for a path of the home that cannot be looked at."""
    if isinstance(error, FileNotFoundError):
        return HomeError(f"{path} is missing", "restore it, or begin with another home and `syncd init`")
    return HomeError(f"cannot read {path}: {error.strerror}", "run this as the user who owns the home")


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
