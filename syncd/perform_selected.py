"""Edits of a device that takes a part of a collection only: those outside of its part are refused (R8, R9).

What such a device may edit are the objects that its selection takes, before or after the edit. Where the primary holds
another version than the edit's base, which the selection does not take, the base must have been there and have been
taken: else a device that names the key of an object it never held could be answered with it. For objects that are taken
by reference see ``perform_references``.

Where the selection leaves fields out, its edits have fewer fields than the primary's objects: here they get those that
the primary held last, and the writer is told of which fields they say nothing (``EditGroup.silent``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from syncd.adapters.canonical import Value, pack_values, unpack_values
from syncd.core.digest import object_hash_bytes, type_prefix
from syncd.core.edits import Edit, EditGroup, Fact
from syncd.core.key_patterns import key_text
from syncd.core.model import DataType
from syncd.core.references import Object
from syncd.core.selection import Selection, chooser
from syncd.outside import Ports
from syncd.perform_references import known_of, leads_to, of_edit, take_note

OTHER_FIELDS = "the fields that this device's selection leaves out are others since it was made"
Named = tuple[str, str, int]  # a group: its device, outbox and number


async def within(
    ports: Ports, name: str, selected: Mapping[str, Selection], groups: Sequence[EditGroup]
) -> tuple[list[EditGroup], dict[Named, str]]:
    """The groups that may be executed, as they are for the primary, and why the others may not. ``selected``: what
    devices take that do not take all."""
    if not any(group.device in selected for group in groups):
        return [*groups], {}
    types = (await ports.sync_store.open_collection(name)).types
    allowed: list[EditGroup] = []
    refused: dict[Named, str] = {}
    for group in groups:
        whole: EditGroup | None = group
        why = ""
        if group.device in selected:
            look = _Look(ports, name, {one.id: one for one in types}, selected[group.device])
            whole = await look.whole(group)
            why = OTHER_FIELDS if whole is None else await look.why_not(whole)
        if whole is None or why:
            refused[group.device, group.outbox, group.number] = why
        else:
            allowed.append(whole)
    return allowed, refused


class _Look:
    """One group of edits beside what the store holds."""

    def __init__(self, ports: Ports, name: str, types: Mapping[int, DataType], selection: Selection) -> None:
        self._ports, self._name, self._types, self._selection = ports, name, types, selection
        self._chosen = chooser(selection, tuple(types.values()))
        self._narrow = self._chosen.narrow()

    async def whole(self, group: EditGroup) -> EditGroup | None:
        """The group with all fields; None where it was made with others left out than at this time."""
        if not self._narrow:
            return group
        edits: list[Edit] = []
        silent: dict[int, frozenset[int]] = {}
        for edit in group.edits:
            narrow = self._narrowed(edit) if self._chosen.leaves_out(edit.type) else edit
            if narrow is None:
                return None
            if narrow.type not in self._narrow:
                edits.append(narrow)
                continue
            type_, kept = self._narrow[narrow.type]
            versions = (one for one in (narrow.base, narrow.fields) if one is not None)
            if any(len(unpack_values(one)) != len(kept) for one in versions):
                return None
            edits.append(await self._filled(narrow, type_, kept, group.offered))
            silent[type_] = frozenset(self._others(type_, kept))
        return replace(group, edits=tuple(edits), silent=silent)

    def _others(self, type_: int, kept: Sequence[int]) -> list[int]:
        """Places of the fields that are left out."""
        return [at for at in range(len(self._types[type_].fields)) if at not in kept]

    def _narrowed(self, edit: Edit) -> Edit | None:
        """One that was made before its fields were left out; None if it says anything of those."""
        told = self._chosen.told(edit.type)
        width, kept = len(self._types[edit.type].fields), self._narrow[told][1]
        base, fields = (None if one is None else unpack_values(one) for one in (edit.base, edit.fields))
        if any(row is not None and len(row) != width for row in (base, fields)):
            return None
        others = self._others(edit.type, kept)
        if fields is not None and _packed(fields, others) != _packed(base or [None] * width, others):
            return None
        base_, fields_ = (None if row is None else _packed(row, kept) for row in (base, fields))
        return edit._replace(type=told, base=base_, fields=fields_)

    async def _filled(self, edit: Edit, type_: int, kept: Sequence[int], offered: bool) -> Edit:
        """One that is ``offered`` may be an earlier version: that has what was left out of it as well."""
        width = len(self._types[type_].fields)
        most = self._ports.limits.history_versions_max if offered else 2  # of one that is gone, that before it
        versions = await self._ports.sync_store.history(self._name, type_, edit.key, most)
        held = [unpack_values(one.fields) for one in versions if one.fields is not None]
        held = [values for values in held if len(values) == width]

        def filled(fields: bytes | None) -> bytes | None:
            if fields is None:
                return None
            own = unpack_values(fields)
            same = (values for values in held if offered and _packed(values, kept) == fields)
            values: list[Value] = [*next(same, held[0] if held else [None] * width)]
            for at, value in zip(kept, own, strict=True):
                values[at] = value
            return pack_values(values)

        return edit._replace(type=type_, base=filled(edit.base), fields=filled(edit.fields))

    async def why_not(self, group: EditGroup) -> str:
        """Why it may not be executed; empty: it may."""
        edits = [edit for edit in group.edits if edit.type in self._types]  # the writer refuses the others
        facts = await self._ports.sync_store.facts(self._name, edits)
        others = {
            of_edit(edit): (edit, fact)
            for edit, fact in zip(edits, facts, strict=True)
            if not (self._any_taken(edit, (edit.base, edit.fields)) and await self._is_its_own(edit, fact))
        }
        if self._chosen.follows:
            return await self._why_not_by_reference(group.device, edits, facts, others)
        return self._not_taken(next(iter(others))) if others else ""

    async def _why_not_by_reference(
        self,
        device: str,
        edits: Sequence[Edit],
        facts: Sequence[Fact],
        others: dict[Object, tuple[Edit, Fact]],
    ) -> str:
        """``others``: those of objects that the selection does not take by themselves."""
        leads = {of_edit(edit): leads_to(self._chosen, edit, edit.fields) for edit in edits}
        asked = {*leads, *(one for part in leads.values() for one in part)}
        known = await known_of(self._ports, self._name, device, self._selection, asked)
        for one, (edit, fact) in [*others.items()]:
            held = one in known.former and (fact.hash is None or await self._was_there(edit, fact))
            if one in known.members or held:
                del others[one]
        queue = [to for one, part in leads.items() if one not in others for to in part]
        while queue:  # what is added with what references it
            one = queue.pop()
            if one in others and others[one][1].hash is None:
                del others[one]
                queue += leads[one]
        if others:
            return self._not_taken(next(iter(others)))
        for edit, fact in zip(edits, facts, strict=True):
            beyond = [to for to in leads[of_edit(edit)] if to not in leads and not known.names(to)]
            before = leads_to(self._chosen, edit, edit.base)
            if beyond and not (set(beyond) <= set(before) and await self._was_there(edit, fact)):
                return f"{self._not_taken(beyond[0])}, which {self._shown(of_edit(edit))} references"
        take_note(self._ports, self._name, device, edits)
        return ""

    def _not_taken(self, one: Object) -> str:
        return f"this device's selection does not take {self._shown(one)}"

    def _shown(self, one: Object) -> str:
        return key_text(self._types[one[0]].name, unpack_values(one[1]))

    async def _was_there(self, edit: Edit, fact: Fact) -> bool:
        """Whether the base is a version of the primary's."""
        if edit.base is None:
            return False
        if fact.hash == object_hash_bytes(type_prefix(self._types[edit.type].name), edit.key, edit.base):
            return True
        most = self._ports.limits.history_versions_max
        versions = await self._ports.sync_store.history(self._name, edit.type, edit.key, most)
        return any(one.fields == edit.base for one in versions)

    async def _is_its_own(self, edit: Edit, fact: Fact) -> bool:
        """Whether the version that the primary holds is the base, or one that the selection takes, or the base was
        there before."""
        prefix = type_prefix(self._types[edit.type].name)
        if fact.hash is None or (edit.base is not None and fact.hash == object_hash_bytes(prefix, edit.key, edit.base)):
            return True
        most = self._ports.limits.history_versions_max
        versions = [one.fields for one in await self._ports.sync_store.history(self._name, edit.type, edit.key, most)]
        if self._any_taken(edit, versions[:1]):
            return True
        return edit.base in versions and self._any_taken(edit, (edit.base,))

    def _any_taken(self, edit: Edit, versions: Iterable[bytes | None]) -> bool:
        key = unpack_values(edit.key)
        return any(
            self._chosen.takes(edit.type, key, unpack_values(fields)) for fields in versions if fields is not None
        )


def _packed(values: Sequence[Value], places: Sequence[int]) -> bytes:
    return pack_values([values[at] for at in places])
