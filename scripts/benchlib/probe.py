"""What the kernel knows of a process: memory, processor time, connections. The process itself is not disturbed."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_ESTABLISHED = "01"


@dataclass(frozen=True, slots=True)
class Cost:
    """``peak_rss_mib``: of the process since its start; ``cpu_s``: during the figure, user and system."""

    name: str
    peak_rss_mib: float
    cpu_s: float


def keep_on(pid: int, cores: set[int]) -> None:
    """A process, with all its threads, keeps to these cores."""
    for thread in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(thread.name), cores)


def peak_rss_mib(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise AssertionError(f"process {pid} has no VmHWM")


def cpu_s(pid: int) -> float:
    """User and system time of all threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def connections_to(port: int) -> int:
    """How many connections of this machine to a port of IPv4 are established."""
    found = 0
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        found += fields[3] == _ESTABLISHED and int(fields[2].partition(":")[2], 16) == port
    return found
