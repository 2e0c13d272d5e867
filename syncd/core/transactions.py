"""What became of transaction groups, per device, for people (``syncd transactions``; R7)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from syncd.core.errors import UserError
from syncd.core.messages import Failed, Report
from syncd.core.model import OutcomeKind, Role, group_id
from syncd.core.ports import CollectionState, Group
from syncd.core.sending import Standing
from syncd.core.settings import Limits
from syncd.core.status import Json
from syncd.core.target_state import Target

UNKNOWN = "unknown"  # applied or failed: not all groups that failed on the device are named
_WHY_UNKNOWN = "more groups failed on the device than it names: this one is applied there, or one of them"
_FAILED = {OutcomeKind.CANCELLED, OutcomeKind.ROLLED_BACK, OutcomeKind.HELD}
_KNOWN = {
    Role.PRIMARY: _FAILED | {OutcomeKind.PENDING, OutcomeKind.APPLIED},
    Role.AUXILIARY: _FAILED | {OutcomeKind.STAGED},
}


class Row(NamedTuple):
    """A group on a device. ``objects`` and ``time_us`` are 0 where they are not known."""

    collection: str
    seq: int
    device: str
    device_name: str
    outcome: str
    objects: int
    time_us: int
    failed: Failed | None = None

    def line(self, show_key: Callable[[bytes], str], show_time: Callable[[int], str]) -> Json:
        """As JSON."""
        failed = self.failed
        return {
            "group": group_id(self.collection, self.seq),
            "collection": self.collection,
            "seq": self.seq,
            "device": self.device,
            "device_name": self.device_name,
            "outcome": self.outcome,
            "objects": self.objects,
            "time": show_time(self.time_us),
            "cause": failed.cause if failed else _WHY_UNKNOWN if self.outcome == UNKNOWN else "",
            "type": failed.type if failed else "",
            "key": show_key(failed.key) if failed else "",
        }


def check_outcome(role: Role, outcome: str) -> None:
    """Raises UserError for an outcome that a device of this role keeps no list of."""
    if not outcome or OutcomeKind(outcome) in _KNOWN[role]:
        return
    other = Role.AUXILIARY if role is Role.PRIMARY else Role.PRIMARY
    raise UserError(f"a device that is {role} keeps no list of groups that are {outcome}", f"run it on the {other}")


def of_device(
    state: CollectionState, groups: Sequence[Group], device: tuple[str, str], standing: Standing | None
) -> Iterator[Row]:
    """On the primary: the groups of a collection on one device (id, name), by what it reported last. ``state``: as the
    device sees it; one that has all of its class has all groups, whatever they changed elsewhere."""
    report = standing.report if standing is not None and standing.report.epoch == state.epoch else None
    failed = {one.seq: one for one in report.failed} if report else {}
    position = report.position if report else 0
    if groups and report and position >= state.head:
        position = max(position, groups[0].seq)
    reached = OutcomeKind.APPLIED.value if report is None or names_all(report) else UNKNOWN
    known = {group.seq: group for group in groups}
    for seq in sorted(known.keys() | failed.keys()):
        group, failure = known.get(seq), failed.get(seq)
        outcome = failure.outcome if failure else reached if seq <= position else OutcomeKind.PENDING.value
        objects, time_us = (group.objects, group.time_us) if group else (0, 0)
        yield Row(state.name, seq, *device, outcome, objects, time_us, failure)


def names_all(report: Report) -> bool:
    """Whether a report names all groups that failed: each part at least once, and none of so many that its oldest are
    left out."""
    return report.parked <= len(report.failed) < Limits().part_groups_max


def of_target(target: Target, device: tuple[str, str]) -> Iterator[Row]:
    """On an auxiliary: the groups that wait here, failed or staged. It keeps no list of those that it has applied."""
    objects = {seq: part.objects for part in target.parked.oldest for seq in part.seqs}
    for failed in target.failed:
        yield Row(target.name, failed.seq, *device, failed.outcome, objects.get(failed.seq, 0), 0, failed)
    for cut in target.cuts:
        yield Row(target.name, cut.seq, *device, OutcomeKind.STAGED.value, 0, 0)


def chosen(rows: Iterable[Row], outcome: str, limit: int) -> list[Row]:
    """Those of the outcome (empty: all), the newest first, at most ``limit``."""
    found = [row for row in rows if outcome in ("", row.outcome)]
    return sorted(found, key=lambda row: (row.time_us, row.seq, row.collection, row.device), reverse=True)[:limit]
