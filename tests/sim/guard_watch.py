"""What the guard holds back in a simulated world, and who decided about it (R13)."""

from __future__ import annotations

from collections import Counter

from syncd.core.holding import Held
from syncd.core.model import ObjectId
from syncd.core.ports import CollectionState
from syncd.core.selection import Selection
from tests.sim import guard_rules as rules
from tests.sim.contents import contents
from tests.sim.daemon import approve_held, held_objects
from tests.sim.edits_world import EditsWorld
from tests.sim.history import State
from tests.sim.network import PRIMARY, finish
from tests.two_way_kit import NAME, taken


class GuardWatch:
    """``standing``: objects of the held group, as they were before it: as they were published, or as a comparison had
    seen them. ``approved``: numbers of groups that were."""

    def __init__(self, world: EditsWorld, met: Counter[str]) -> None:
        self._world = world
        self._met = met
        self.standing: dict[ObjectId, bytes | None] = {}
        self.approved: set[int] = set()
        self._let_through = False
        self._before: State = {}
        self._head = 0
        self._comparing = False  # it may have kept what is not published yet

    def look(self, state: CollectionState) -> None:
        """``state``: of the store, at this moment."""
        self._comparing = self._comparing or state.scanning
        self._group(state.held)
        if state.published:
            self._comparing = state.scanning
        if state.published and state.imported:
            published = contents(self._world.store, NAME)[0]
            if state.head == self._head:  # what a comparison had seen may have been taken back
                rules.r13_taken_back(self._before, published)
                self.standing = {one: self._before.get(one) for one in self.standing}
            self._before, self._head = published, state.head
            rules.r13_as_before(self.standing, self._before)
            self._met["R13 held"] += bool(self.standing)

    def _group(self, held: Held | None) -> None:
        if held is None:
            rules.r13_not_forgotten(self.standing, self._let_through)
            self._met["R13 let through"] += self._let_through
            self.standing, self._let_through = {}, False
        elif held.released:
            if not self._let_through:
                rules.r13_decided(held.number, held.gone, self.approved)
            self.standing, self._let_through = {}, True
        else:
            those = held_objects(self._world.store, NAME)
            before = self._kept() if self._comparing else self._before
            self.standing = {one: self.standing.get(one, before.get(one)) for one in those}
            self._let_through = False

    def _kept(self) -> State:
        """What the store holds, published or not."""
        rows = vars(self._world.store)["_collections"][NAME].rows
        return {one: row.fields for one, row in rows.items() if row.fields is not None}

    def shows(self, selection: Selection, rows: State) -> None:
        """A device that holds what is published at the head."""
        if self._comparing:
            return  # what stands may not be published yet
        shown = self._taken(selection)
        rules.r13_shown(shown, shown, rows)
        self._met["R13 shown"] += bool(self.standing)

    def deletes(self, selection: Selection, one: ObjectId) -> None:
        """A device of this selection is told to delete an object."""
        rules.r13_not_named(self.standing, self._taken(selection), one)
        self._met["R13 not named"] += bool(self.standing)

    def _taken(self, selection: Selection) -> State:
        """What stands as a device of this selection has it."""
        return taken(selection, {one: fields for one, fields in self.standing.items() if fields is not None})

    # ------------------------------------------------------------ persons

    def approve(self) -> None:
        """What is held, as it is shown at this moment."""
        if number := approve_held(self._world.nodes[PRIMARY].ports, NAME):
            self._world.note(f"held group {number} is approved")
            self.approved.add(number)
            self.look(finish(self._world.store.open_collection(NAME)))

    def reject(self) -> None:
        """The application gets back what was deleted; as ``syncd.holds`` does it."""
        state = finish(self._world.store.open_collection(NAME))
        if state.held is None or not self._world.primary.sources[NAME].ready:
            return
        self._world.note(f"held group {state.held.number} is rejected")
        edits, after = finish(self._world.store.lost(NAME, 0, 100))
        while edits:
            self._world.do(tuple(edits), None, f"reject {NAME}:held-{state.held.number}")
            edits, after = finish(self._world.store.lost(NAME, after, 100))
