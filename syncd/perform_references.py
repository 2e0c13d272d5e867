"""Edits of a device whose selection follows references (R8, R9): which it may make of objects that it takes by
reference only, and to which objects its edits may lead.

A device may edit what it holds because something references it, and add what is referenced in the same group. It may
reference what it holds or held, what it added itself, and nothing else: else a device that names a key in a reference
could be answered with the object.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from syncd.adapters.canonical import unpack_values
from syncd.adapters.references import referenced
from syncd.core.edits import Edit
from syncd.core.errors import ApplicationOffline
from syncd.core.references import Object
from syncd.core.selection import Chooser, Selection
from syncd.outside import Ports


def of_edit(edit: Edit) -> Object:
    return edit.type, edit.key


def leads_to(chosen: Chooser, edit: Edit, fields: bytes | None) -> tuple[Object, ...]:
    """What the object of an edit references where it has these fields."""
    foreign_keys = chosen.follows.get(edit.type, ())
    if fields is None or not foreign_keys:
        return ()
    values = (*unpack_values(edit.key), *unpack_values(fields))
    if any(place >= len(values) for one in foreign_keys for place in one.places):
        return ()  # the writer refuses it
    return referenced(foreign_keys, values)


class Known:
    """What a device of a class that follows references knows. ``members``: of the objects asked about, those that are
    in the class; ``former``: those that were, or that the device added lately. ``all_``: nothing is sent to the device,
    so that it may name what it likes."""

    def __init__(self, members: Collection[Object], former: Collection[Object], all_: bool = False) -> None:
        self.members, self.former, self._all = members, former, all_

    def names(self, one: Object) -> bool:
        """Whether an edit may lead to it."""
        return self._all or one in self.members or one in self.former


async def known_of(ports: Ports, name: str, device: str, selection: Selection, objects: Iterable[Object]) -> Known:
    """Raises ApplicationOffline while the class is being filled."""
    classes = (await ports.sync_store.open_collection(name)).classes
    state = next((one for one in classes if one.selection == selection), None)
    added = ports.added.get((name, device), {})
    if state is None or state.broken:
        return Known((), added, all_=state is None)
    if not state.ready:
        raise ApplicationOffline(
            f"the selection of a device of {name} is being applied", "its edits are taken after that"
        )
    members, former = await ports.sync_store.in_class(name, selection, list(objects))
    return Known(members, {*former, *added})


def take_note(ports: Ports, name: str, device: str, edits: Sequence[Edit]) -> None:
    """The device may make these edits, and what it added is not in the store before it was read from there."""
    added = ports.added.setdefault((name, device), {})
    for edit in edits:
        if edit.base is None:
            added.pop(of_edit(edit), None)
            added[of_edit(edit)] = None
    for one in list(added)[: max(0, len(added) - ports.limits.added_objects_max)]:
        del added[one]
