"""Versions of one object from two sides -> what is written, what is told (R11).

A group of edits is decided as a whole, against what the primary's application holds at that moment. Each edit is by
itself *clean* (the version that it changed is the one that is there) or *contested*; a contested edit that the
primary wins refuses the group. A group that brings nothing but what is there already is accepted. One that brings
more is not: that two people took the same amount from one account, each into another, is no agreement. Clocks decide
nothing but the policy ``newest``, and that only where they are known to agree. What is inside of fields and keys is
the application's to know: ``Forms``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

from syncd.core.digest import object_hash_bytes, type_prefix
from syncd.core.edits import NOTHING_KNOWN, Edit, EditGroup, Fact, Policy, Ruling, Side
from syncd.core.model import ObjectId

CHANGED = "it was changed on the primary as well"
ADDED = "another with this key was added on the primary"
DELETED_HERE = "it was deleted, but the primary changed it"
OTHER = "the primary holds another version of it"
EARLIER = "it is an earlier version of what the primary holds"
NOT_AT_BASE = "it was changed since"
TABLE_CHANGED = "its table has changed since"
NOT_FOLLOWED = "its key names an object whose own key was given to another on the primary"


class Forms(Protocol):
    """What the application knows of the insides of its objects. ``split``: each field in a form that can be compared;
    ``join``: the same back. ``second_key``: a key that no object has, for the version of the edit; None where a key
    has a meaning or none is free. Asked again for another edit of the group, it gives another. ``follow``: the fields
    of an edit in a group of which added objects moved to second keys (by type and key): what names one names it where
    it is; None if for that its own key would have to be another. ``usual``: the parts of an object of a type of which
    nothing is said."""

    def split(self, fields: bytes) -> Sequence[bytes]: ...

    def join(self, parts: Sequence[bytes]) -> bytes: ...

    def second_key(self, group: EditGroup, edit: Edit) -> bytes | None: ...

    def follow(self, edit: Edit, moved: Mapping[tuple[int, bytes], bytes]) -> bytes | None: ...

    def usual(self, type: int) -> Sequence[bytes]: ...


class View(NamedTuple):
    """What is on the primary where an edit wants to write. ``ours``: fields of the object, None where there is none.
    ``fact``: what the store knows of it; its hash is that of ``digest.object_hash_bytes``."""

    object: ObjectId
    ours: bytes | None
    fact: Fact = NOTHING_KNOWN


class Change(NamedTuple):
    """An object to be written; ``fields`` None: to be removed."""

    type: int
    key: bytes
    fields: bytes | None


@dataclass(frozen=True, slots=True)
class Decision:
    """What becomes of a group. ``changes``: what is to be written, in the order of the edits; nothing where it is
    refused. ``sides``: as in ``edits.Written``. ``cause``, ``guilty``: why it is refused, and for which object."""

    ruling: Ruling
    changes: tuple[Change, ...] = ()
    sides: tuple[Side, ...] = ()
    cause: str = ""
    guilty: ObjectId | None = None

    def refused(self, cause: str, guilty: ObjectId | None) -> Decision:
        """The application did not take it: nothing of it is there. A conflict in it is still told."""
        sides = tuple(side._replace(result=side.ours, copy=b"") for side in self.sides)
        return Decision(Ruling.REFUSED, (), sides, cause, guilty)


@dataclass(frozen=True, slots=True)
class _Fate:
    """Of one edit. ``result``: what is there afterwards. ``lost``: why its version is not taken, and with it the group.
    ``copy``: key of a second object, which has the fields ``second``."""

    result: bytes | None
    contested: bool = False
    lost: str = ""
    copy: bytes = b""
    second: bytes = b""


def decide(group: EditGroup, views: Sequence[View], policy: Policy | None, forms: Forms) -> Decision:
    """``views``: one for each edit. ``policy`` None: edits that are not at their bases are left, the others written."""
    if group.silent:
        edits = (_spoken(edit, view, group, forms) for edit, view in zip(group.edits, views, strict=True))
        group = replace(group, edits=tuple(edits))
    if policy is None:
        return _as_far_as_clean(group, views)
    if not group.offered and all(edit.base == view.ours for edit, view in zip(group.edits, views, strict=True)):
        changes = (Change(one.type, one.key, one.fields) for one in group.edits if one.fields != one.base)
        return Decision(Ruling.ACCEPTED, tuple(changes))  # most come so: each is clean
    if all(edit.fields == view.ours for edit, view in zip(group.edits, views, strict=True)):
        return Decision(Ruling.ACCEPTED)
    fates = [_fate(group, edit, view, policy, forms) for edit, view in zip(group.edits, views, strict=True)]
    fates = _followed(group, fates, forms)
    lost = [at for at, fate in enumerate(fates) if fate.lost]
    if lost:
        at = next((at for at in lost if fates[at].contested), lost[0])
        cause, guilty = fates[at].lost, views[at].object
        fates = [replace(fate, result=view.ours, copy=b"") for fate, view in zip(fates, views, strict=True)]
        return Decision(Ruling.REFUSED, (), _sides(group, views, fates), cause, guilty)
    as_sent = all(fate.result == edit.fields for fate, edit in zip(fates, group.edits, strict=True))
    ruling = Ruling.ACCEPTED if as_sent else Ruling.MERGED
    return Decision(ruling, _changes(group, views, fates), _sides(group, views, fates))


def _spoken(edit: Edit, view: View, group: EditGroup, forms: Forms) -> Edit:
    """Of the fields that the device does not have, both its versions hold what the primary's does: so they are no
    conflict, and stay. Where there is no object, an added one has the usual values, another those that it had last."""
    places = group.silent.get(edit.type)
    if not places or (view.ours is None and edit.base is not None):
        return edit
    held = forms.usual(edit.type) if view.ours is None else forms.split(view.ours)

    def spoken(fields: bytes | None) -> bytes | None:
        if fields is None or len(parts := forms.split(fields)) != len(held):
            return fields
        return forms.join([held[at] if at in places else part for at, part in enumerate(parts)])

    return edit._replace(base=spoken(edit.base), fields=spoken(edit.fields))


def _fate(group: EditGroup, edit: Edit, view: View, policy: Policy, forms: Forms) -> _Fate:
    base, ours, theirs = None if group.offered else edit.base, view.ours, edit.fields
    if group.offered and ours == theirs:
        return _Fate(theirs)
    if group.offered and view.fact.stale:
        return _Fate(ours, lost=EARLIER)
    if base == ours:
        return _Fate(theirs)
    if ours == theirs:  # made on both sides
        agree = policy in (Policy.AUXILIARY, Policy.MERGE, Policy.BOTH) or (
            policy is Policy.NEWEST and _newer(group, edit, view, ours)
        )
        return _Fate(ours, contested=True, lost="" if agree else CHANGED)
    if theirs is None:  # modification beats deletion
        return _Fate(ours, contested=True, lost=DELETED_HERE)
    if ours is None:
        return _Fate(theirs, contested=True)
    if policy is Policy.AUXILIARY or (policy is Policy.NEWEST and _newer(group, edit, view, ours)):
        return _Fate(theirs, contested=True)
    if policy is Policy.MERGE:
        merged = _merged(forms, base, ours, theirs)
        if merged is not None:
            return _Fate(merged, contested=True)
    if policy is Policy.BOTH:
        key = forms.second_key(group, edit)
        if key is not None:
            return _Fate(ours, contested=True, copy=key, second=theirs)
    lost = OTHER if group.offered else CHANGED if edit.base is not None else ADDED
    return _Fate(ours, contested=True, lost=lost)


def _followed(group: EditGroup, fates: list[_Fate], forms: Forms) -> list[_Fate]:
    """Where an object that was added has a second key, what was made with it goes with it: under the first one is an
    object of somebody else's."""
    moved = {
        (edit.type, edit.key): fate.copy
        for edit, fate in zip(group.edits, fates, strict=True)
        if fate.copy and edit.base is None
    }
    if not moved:
        return fates
    followed: list[_Fate] = []
    for edit, fate in zip(group.edits, fates, strict=True):
        fields = None if edit.fields is None else forms.follow(edit, moved)
        if fields is None and edit.fields is not None:
            followed.append(replace(fate, lost=fate.lost or NOT_FOLLOWED))
        elif fields is not None and fate.copy:
            followed.append(replace(fate, second=fields))
        else:
            followed.append(replace(fate, result=fields) if fate.result == edit.fields else fate)
    return followed


def _newer(group: EditGroup, edit: Edit, view: View, ours: bytes | None) -> bool:
    """Whether the edit was made after the primary's version. What the store does not know yet was made just now."""
    hashed = None if ours is None else object_hash_bytes(type_prefix(view.object.type), edit.key, ours)
    known = hashed == view.fact.hash
    return known and group.time_us > view.fact.changed_us and group.time_us != 0


def _merged(forms: Forms, base: bytes | None, ours: bytes, theirs: bytes) -> bytes | None:
    """Field by field what either side changed; None if both changed one, each in its way."""
    if base is None:  # added on both sides: fields that differ overlap, and some do
        return None
    columns = [forms.split(version) for version in (base, ours, theirs)]
    if len(set(map(len, columns))) > 1:
        return None
    merged: list[bytes] = []
    for was, here, there in zip(*columns, strict=True):
        if was not in (here, there) and here != there:
            return None
        merged.append(there if here == was else here)
    return forms.join(merged)


def _as_far_as_clean(group: EditGroup, views: Sequence[View]) -> Decision:
    """What a person undoes or resolves: the objects that are as they were then, and no others."""
    fates = [
        _Fate(edit.fields) if view.ours in (edit.base, edit.fields) else _Fate(view.ours, contested=True)
        for edit, view in zip(group.edits, views, strict=True)
    ]
    left = [view.object for view, fate in zip(views, fates, strict=True) if fate.contested]
    sides = _sides(group, views, fates)
    if left and len(left) == len(fates):
        return Decision(Ruling.REFUSED, (), sides, NOT_AT_BASE, left[0])
    return Decision(Ruling.MERGED if left else Ruling.ACCEPTED, _changes(group, views, fates), sides)


def _changes(group: EditGroup, views: Sequence[View], fates: Sequence[_Fate]) -> tuple[Change, ...]:
    changes: list[Change] = []
    for edit, view, fate in zip(group.edits, views, fates, strict=True):
        if fate.result != view.ours:
            changes.append(Change(edit.type, edit.key, fate.result))
        if fate.copy:
            changes.append(Change(edit.type, fate.copy, fate.second))
    return tuple(changes)


def _sides(group: EditGroup, views: Sequence[View], fates: Sequence[_Fate]) -> tuple[Side, ...]:
    """All objects of the group if any is contested: each losing version can be found again."""
    if not any(fate.contested for fate in fates):
        return ()
    return tuple(
        Side(view.object, edit.base, view.ours, edit.fields, fate.result, fate.contested, fate.copy)
        for edit, view, fate in zip(group.edits, views, fates, strict=True)
    )
