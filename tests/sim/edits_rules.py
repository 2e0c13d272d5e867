"""The rules of DESIGN §4 about changes in two directions: R2, R6, R10-R12, R14, each a function of what was seen.

As in ``invariants.py``: plain values go in, ``Broken`` comes out, and no code is shared with the product that decides
the same. ``test_edits_rules.py`` shows that each fails where its rule is broken.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import NamedTuple

from syncd.adapters.canonical import pack_values, unpack_values
from syncd.core.edits import Edit, EditGroup, Fact, Policy, Ruling, Side, Written
from syncd.core.model import ObjectId
from tests.sim.history import State
from tests.sim.invariants import Broken

Name = tuple[str, str, int]  # device, outbox, number of a group of edits


class Commit(NamedTuple):
    """What the application of a device did in one transaction: before and after, by object."""

    changes: Mapping[ObjectId, tuple[bytes | None, bytes | None]]


@dataclass(frozen=True)
class Decided:
    """A group of edits met the primary's application. ``before``, ``after``: what that held."""

    group: EditGroup
    policy: Policy | None
    facts: Mapping[tuple[int, bytes], Fact]
    before: State
    after: State
    written: Written
    names: Mapping[int, str] = field(default_factory=dict)

    def id_of(self, edit: Edit) -> ObjectId:
        return ObjectId(self.names[edit.type], edit.key)


# ---------------------------------------------------------------- what a device's application shows


def r2_edits_whole(rows: State, sent: Sequence[State], commits: Sequence[Commit], but: Collection[ObjectId]) -> None:
    """Of each transaction of a device's own, all stands or nothing. ``sent``: the primary's states up to the device's
    position, newest last. An object shows the last transaction that touched it; one that brought back what the primary
    had sent may have changed nothing in the end, and is not asked."""
    below = sent[-1]
    last: dict[ObjectId, Commit] = {}
    for commit in commits:
        last |= dict.fromkeys(commit.changes, commit)
    for one, fields in rows.items():
        if one not in but and fields != below.get(one) and (one not in last or last[one].changes[one][1] != fields):
            raise Broken(f"R2 whole groups: {one} is {fields!r}: neither the primary's nor the application's own")
    for commit in {id(one): one for one in last.values()}.values():
        mine = [one for one in commit.changes if last[one] is commit and one not in but]
        stand = [one for one in mine if rows.get(one) == commit.changes[one][1] != below.get(one)]
        gone = [one for one in mine if rows.get(one) != commit.changes[one][1]]
        gone = [one for one in gone if stand and all(commit.changes[one][1] != state.get(one) for state in sent)]
        if gone:
            raise Broken(f"R2 whole groups: an own transaction is split: {stand} stand, {gone} were put back")


def r2_shown(rows: State, below: State, above: Mapping[ObjectId, bytes | None], but: Collection[ObjectId]) -> None:
    """The application shows what the primary sent, and above that what is known to have been edited."""
    expected: dict[ObjectId, bytes | None] = {**below, **above}
    for one in rows.keys() | expected.keys():
        if one not in but and rows.get(one) != expected.get(one):
            raise Broken(f"R2 whole groups: {one} is {rows.get(one)!r}, it should be {expected.get(one)!r}")


# ---------------------------------------------------------------- exactly once


def r6_decided_once(name: Name, before: Collection[Name]) -> None:
    """A group of edits meets the application once."""
    if name in before:
        raise Broken(f"R6 exactly once: {name} is executed again")


def r6_written_whole(seen: Decided) -> None:
    """What is refused changes nothing; what is not refused changes nothing but its objects and their second ones."""
    if seen.written.ruling is Ruling.REFUSED:
        if seen.before != seen.after:
            raise Broken("R6 exactly once: a group that was refused left a trace")
        return
    mine = {seen.id_of(edit) for edit in seen.group.edits}
    mine |= {ObjectId(side.object.type, side.copy) for side in seen.written.sides if side.copy}
    for one in seen.before.keys() | seen.after.keys():
        if one not in mine and seen.before.get(one) != seen.after.get(one):
            raise Broken(f"R6 exactly once: {one} was changed by a group that does not hold it")


def r6_made_once(versions: Mapping[ObjectId, Sequence[bytes | None]], made: Mapping[bytes, int]) -> None:
    """``versions``: all of each object that came of edits, as the primary remembers them; ``made``: how often each
    version was made by a person or a rule."""
    count: dict[bytes, int] = {}
    for those in versions.values():
        for fields in those:
            if fields is not None:
                count[fields] = count.get(fields, 0) + 1
    for fields, times in sorted(count.items()):
        if times > made.get(fields, 0):
            raise Broken(
                f"R6 exactly once: {fields!r} came to be {times} times and was made {made.get(fields, 0)} times"
            )


# ---------------------------------------------------------------- two directions


def r10_downloads(positions: Mapping[str, tuple[int, bool]], head: int) -> None:
    """While uploads are stuck, each device comes to the head and is proven."""
    behind = {device: at for device, at in positions.items() if at != (head, True)}
    if behind:
        raise Broken(f"R10 two directions: uploads are stuck, and downloads with them: {behind}, the head is {head}")


def r10_uploads(waiting: Mapping[str, int]) -> None:
    """While downloads are stuck, each group of edits gets its verdict."""
    stuck = {device: groups for device, groups in waiting.items() if groups}
    if stuck:
        raise Broken(f"R10 two directions: downloads are stuck, and uploads with them: {stuck}")


# ---------------------------------------------------------------- conflicts


class _Fate(NamedTuple):
    result: bytes | None
    contested: bool = False
    lost: bool = False
    copied: bool = False


def r11_decided(seen: Decided) -> None:
    """The rule table, written again: what a group of edits must have become."""
    fates = {seen.id_of(edit): _fate(seen, edit) for edit in seen.group.edits}
    contested = {one for one, fate in fates.items() if fate.contested}
    refused = any(fate.lost for fate in fates.values())
    if seen.policy is None:
        refused = bool(fates) and contested == fates.keys()
    told = {side.object for side in seen.written.sides if side.contested}
    if told != contested:
        raise Broken(f"R11 conflicts: {sorted(told)} are told as contested, {sorted(contested)} are")
    if (seen.written.ruling is Ruling.REFUSED) != refused and not _refused_by_application(seen, refused):
        raise Broken(f"R11 conflicts: {seen.written.ruling} under {seen.policy}, refused should be {refused}: {fates}")
    if seen.written.ruling is Ruling.REFUSED:
        return
    for one, fate in fates.items():
        if seen.after.get(one) != fate.result:
            raise Broken(f"R11 conflicts: {one} became {seen.after.get(one)!r} and should be {fate.result!r}")
    copies = [side.copy for side in seen.written.sides if side.copy]
    if len(copies) != sum(fate.copied for fate in fates.values()):
        raise Broken(f"R11 conflicts: {len(copies)} second objects under {seen.policy}: {fates}")
    for side in seen.written.sides:
        if side.copy and seen.after.get(ObjectId(side.object.type, side.copy)) != side.theirs:
            raise Broken(f"R11 conflicts: the second object of {side.object} is not the auxiliary's version")


def _refused_by_application(seen: Decided, refused: bool) -> bool:
    return not refused and seen.written.ruling is Ruling.REFUSED and seen.written.cause.startswith("CHECK")


def _fate(seen: Decided, edit: Edit) -> _Fate:
    one = seen.id_of(edit)
    base, ours, theirs = None if seen.group.offered else edit.base, seen.before.get(one), edit.fields
    fact = seen.facts.get((edit.type, edit.key))
    if seen.policy is None:
        left = ours not in (edit.base, theirs)
        return _Fate(ours if left else theirs, contested=left)
    if ours == theirs and (seen.group.offered or _agrees(seen)):
        return _Fate(ours)
    if seen.group.offered and fact is not None and fact.stale:
        return _Fate(ours, lost=True)
    if ours == base:
        return _Fate(theirs)
    if ours == theirs:  # made on both sides, as a part of what was made
        agree = seen.policy in (Policy.AUXILIARY, Policy.MERGE, Policy.BOTH) or _newer(seen, one, fact)
        return _Fate(ours, contested=True, lost=not agree)
    if theirs is None or ours is None:  # who changed it beats who deleted it
        return _Fate(theirs if ours is None else ours, contested=True, lost=theirs is None)
    match seen.policy:
        case Policy.AUXILIARY:
            return _Fate(theirs, contested=True)
        case Policy.NEWEST if fact is not None and fact.hash == _hash(one, ours) and seen.group.time_us > 0:
            later = seen.group.time_us > fact.changed_us
            return _Fate(theirs if later else ours, contested=True, lost=not later)
        case Policy.MERGE if (merged := _merged(base, ours, theirs)) is not None:
            return _Fate(merged, contested=True)
        case Policy.BOTH if one.type == "note":
            return _Fate(ours, contested=True, copied=True)
    return _Fate(ours, contested=True, lost=True)


def _agrees(seen: Decided) -> bool:
    """The group brings nothing but what is there."""
    return all(seen.before.get(seen.id_of(edit)) == edit.fields for edit in seen.group.edits)


def _newer(seen: Decided, one: ObjectId, fact: Fact | None) -> bool:
    """The primary's version was there before the group was made, as far as is known."""
    if seen.policy is not Policy.NEWEST or fact is None or not seen.group.time_us:
        return False
    ours = seen.before.get(one)
    known = fact.hash == (None if ours is None else _hash(one, ours))
    return known and seen.group.time_us > fact.changed_us


def _merged(base: bytes | None, ours: bytes, theirs: bytes) -> bytes | None:
    if base is None:
        return None
    merged = []
    for was, here, there in zip(*map(unpack_values, (base, ours, theirs)), strict=True):
        if len({was, here, there}) == 3:
            return None
        merged.append(there if here == was else here)
    return pack_values(merged)


def _hash(one: ObjectId, fields: bytes) -> bytes:
    name = one.type.encode()
    return blake2b(len(name).to_bytes(4, "big") + name + one.key + fields, digest_size=16).digest()


def r11_kept(lost: Iterable[Side], kept: Sequence[Side]) -> None:
    """Each object of a conflict is kept with all its versions."""
    for side in lost:
        if side not in kept:
            raise Broken(f"R11 conflicts: the versions of {side.object} cannot be found again")


def r11_refused_kept(edits: Sequence[Edit], readable: Sequence[Edit]) -> None:
    """What was refused can be read on the device that made it."""
    missing = [edit for edit in edits if edit.fields is not None and edit not in readable]
    if missing:
        raise Broken(f"R11 conflicts: {missing} was refused and cannot be read on its device")


def r11_accounted(made: Iterable[tuple[ObjectId, bytes]], found: Callable[[ObjectId, bytes], bool]) -> None:
    """Each version that an application made, and did not replace itself, is somewhere: in the primary's history, in a
    conflict, among what was refused, or standing where it was made."""
    for one, fields in made:
        if not found(one, fields):
            raise Broken(f"R11 conflicts: {fields!r} of {one} is lost")


# ---------------------------------------------------------------- echo and end


def r12_captured(told: Collection[ObjectId], touched: Collection[ObjectId]) -> None:
    """What is read as edited on a device, its application touched."""
    if set(told) - set(touched):
        raise Broken(f"R12 echo: {sorted(set(told) - set(touched))} were written by syncd and are told as edits")


def r12_one_message(edits: Mapping[str, int], rows: Mapping[str, int], origin: str, devices: Collection[str]) -> None:
    """One edit is one message to the primary, and one from there for each device."""
    if dict(edits) != {origin: 1}:
        raise Broken(f"R12 echo: one edit of {origin} made these messages to the primary: {dict(edits)}")
    if dict(rows) != dict.fromkeys(devices, 1):
        raise Broken(f"R12 echo: one edit of {origin} made these messages to devices: {dict(rows)}")


def r14_end(primary: State, shown: Mapping[str, State], waiting: Mapping[str, int]) -> None:
    """When the faults end, all hold the same and nothing waits."""
    for device, rows in shown.items():
        for one in sorted(rows.keys() | primary.keys()):
            if rows.get(one) != primary.get(one):
                raise Broken(f"R14 proof: {device[0]} ends with {one} {rows.get(one)!r}, not {primary.get(one)!r}")
    left = {what: number for what, number in waiting.items() if number}
    if left:
        raise Broken(f"R14 proof: in the end there waits {left}")
