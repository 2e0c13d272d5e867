"""A disk whose power can be cut: an ext4 file system in a file, which forgets what was not synced. It takes root."""

from __future__ import annotations

import fcntl
import os
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.wait import eventually_blocking

_SHUTDOWN = 0x8004587D  # EXT4_IOC_SHUTDOWN
_NO_LOG_FLUSH = 2  # its journal goes as well, as far as it was not on the disk


class Disk:
    """``place``: the directory that it is mounted at."""

    def __init__(self, image: Path, place: Path) -> None:
        self.place = place
        self._image = image
        self._device = ""  # one for all mounts: of two on one file, the former would write over what the other wrote

    def mount(self) -> None:
        if not self._device:
            found = self._run("losetup", "--find", "--show", str(self._image))
            if found.returncode:
                pytest.skip(f"a file cannot be a disk here: {found.stderr.strip()}")
            self._device = found.stdout.strip()
        done = self._run("mount", self._device, str(self.place))
        if done.returncode:
            pytest.skip(f"a file cannot be mounted as a disk here: {done.stderr.strip()}")

    def unmount(self) -> None:
        eventually_blocking(lambda: self._run("umount", str(self.place)).returncode == 0, what="nobody uses the disk")

    def cut(self) -> None:
        """From now on nothing is written, and what was not synced will not be there when it is mounted ``again``."""
        place = os.open(self.place, os.O_RDONLY)
        try:
            fcntl.ioctl(place, _SHUTDOWN, struct.pack("I", _NO_LOG_FLUSH))
        except OSError as error:
            pytest.skip(f"the power of a disk cannot be cut here: {error}")
        finally:
            os.close(place)

    def again(self) -> None:
        """Power is back. Nobody uses it any more."""
        self.unmount()
        self.mount()

    def gone(self) -> None:
        """It is not mounted any more, whoever still uses it."""
        if os.path.ismount(self.place):
            self._run("umount", "--lazy", str(self.place))
        if self._device:
            self._run("losetup", "--detach", self._device)

    def _run(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, capture_output=True, text=True, check=False)


@contextmanager
def powered(directory: Path, size_mib: int = 64) -> Iterator[Disk]:
    """One that is mounted, with nothing on it. Skips the test where there can be none."""
    image, place = directory / "disk.image", directory / "disk"
    place.mkdir()
    with image.open("wb") as file:
        file.truncate(size_mib * 1024 * 1024)
    if os.geteuid() != 0:
        pytest.skip("only root may mount a disk")
    try:
        made = subprocess.run(["mkfs.ext4", "-q", "-F", str(image)], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mkfs.ext4 here")
    assert made.returncode == 0, made.stderr
    disk = Disk(image, place)
    disk.mount()
    try:
        yield disk
    finally:
        disk.gone()
        image.unlink()
