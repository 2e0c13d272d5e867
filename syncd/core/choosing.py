"""Which device takes which objects (R8): the selections, their classes in the store, and devices whose choice changes.

A class is opened as soon as a device that is linked takes it, connected or not, and filled beside everything else; it
is dropped when none takes it any more, but for devices that were revoked. A device of a class that is not ready waits,
one of a class whose selection cannot be applied is held: both keep what they hold.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import inf

from syncd.core.conversation import Phase
from syncd.core.edits import Direction, Policy
from syncd.core.effects import CloseLink, DropClass, Effect, OpenClass
from syncd.core.events import ClassDropped, ClassFailed, ClassOpened
from syncd.core.ports import ClassState, CollectionState
from syncd.core.selection import ALL, Selection
from syncd.core.settings import Limits
from syncd.core.taking import NONE_APART, Taking


class Choosing(Taking):
    """``class_orders``: of each class about which something was ordered, when the next may be: never before what came
    of it is known. ``revoked``: devices that are sent nothing until they are paired again."""

    def __init__(self, name: str, user: str, adapters: Sequence[str], limits: Limits) -> None:
        super().__init__(name, user, adapters, limits)
        self.class_orders: dict[tuple[str, Selection], float] = {}
        self.revoked: set[str] = set()
        self._dropping: set[tuple[str, Selection]] = set()
        self._taken: dict[str, frozenset[Selection]] = {}

    # ------------------------------------------------------------ what devices may have

    def relink(self, device: str, users: Sequence[str]) -> list[Effect]:
        """The users of a device changed: from this step on nothing of one who was taken away leaves, also what waits to
        be sent. The link is closed, so that the device comes again and is welcomed anew."""
        before, self.users[device] = self.users.get(device, ()), tuple(users)
        if before == self.users[device]:
            return []
        self._takers_changed()
        return self._part(device) + self._choose_all()

    def set_revoked(self, device: str, revoked: bool) -> list[Effect]:
        """Whether a person revoked the device."""
        if revoked is (device in self.revoked):
            return []
        (self.revoked.add if revoked else self.revoked.discard)(device)
        self._takers_changed()
        return self._choose_all()

    def set_selections(self, collection: str, usual: Selection, apart: Mapping[str, Selection]) -> list[Effect]:
        """Which of its objects devices take from here on. ``apart``: devices that take others. One whose selection
        changed comes again: its position is of another epoch then (R4), and it is sent a snapshot (R5)."""
        devices = [device for device in sorted(self.users) if self.may(device, collection)]
        before = {device: self.selection_of(device, collection) for device in devices}
        self.selections[collection], self.selected_apart[collection] = usual, dict(apart)
        self._takers_changed()
        moved = [device for device in devices if self.selection_of(device, collection) != before[device]]
        return [effect for device in moved for effect in self._part(device)] + self._choose(collection)

    def _part(self, device: str) -> list[Effect]:
        """What the device may have is no longer the same: nothing of before is left. It begins anew."""
        self._forget_follows(device)
        self._part_intakes(device)
        for key in [key for key in self.standings if key[0] == device and not self.may(*key)]:
            del self.standings[key]
        peer = self.peers.get(device)
        if peer is None or not peer.adapter:
            return []  # its Welcome is still to come
        self.peers[device] = replace(peer, phase=Phase.CLOSED)
        return [CloseLink(device, "", "what this device may have has changed", at_once=True)]

    # ------------------------------------------------------------ classes

    def state_of(self, device: str, collection: str) -> CollectionState | None:
        if self._dropping and (collection, self.selection_of(device, collection)) in self._dropping:
            return None
        return super().state_of(device, collection)

    def _is_read(self, name: str, selection: Selection) -> bool:
        """Whether a chunk of the class is being read."""
        return any((of.collection, of.selection) == (name, selection) for of, _ in self.reads)

    def _takers_changed(self) -> None:
        super()._takers_changed()
        self._taken.clear()

    def taken(self, collection: str) -> frozenset[Selection]:
        """The selections that devices are sent, but for the one of everything."""
        found = self._taken.get(collection)
        if found is None:
            takers = [device for device in self.users if self.may(device, collection) and device not in self.revoked]
            found = frozenset(
                self.selection_of(device, collection)
                for device in takers
                if self.terms_of(collection, device)[0] is not Direction.IN
            ) - {ALL}
            self._taken[collection] = found
        return found

    def set_terms(
        self, collection: str, direction: Direction, policy: Policy, apart: Mapping[str, Direction] = NONE_APART
    ) -> list[Effect]:
        return super().set_terms(collection, direction, policy, apart) + self._choose(collection)

    def _choose_all(self) -> list[Effect]:
        return [effect for name in sorted(self.sources) for effect in self._choose(name)]

    def _choose(self, name: str) -> list[Effect]:
        """Opens the classes that are missing or not ready, drops those that nobody takes. What is opened goes first:
        devices wait for it."""
        source = self.sources.get(name)
        if source is None or source.state is None or not source.sendable:
            return []
        wanted, there = self.taken(name), {one.selection: one for one in source.state.classes}
        if not wanted and not there:
            return []
        free = [one for one in sorted(wanted | there.keys()) if self.class_orders.get((name, one), 0.0) <= self.now]
        lacking = [one for one in free if one in wanted and _is_lacking(there.get(one))]
        gone = [one for one in free if one not in wanted and not self._is_read(name, one)]
        if lacking or any(self.class_orders.get((name, one)) == inf for one in wanted):
            gone = []
        effects: list[OpenClass | DropClass] = [OpenClass(name, one) for one in lacking]
        effects += [DropClass(name, one) for one in gone]
        self._dropping |= {(name, one) for one in gone}
        self.class_orders |= {(name, one.selection): inf for one in effects}
        return [*effects]

    def _class_known(self, event: ClassOpened | ClassDropped | ClassFailed) -> None:
        """What came of an order: the next may be at once, or after a pause."""
        which = event.collection, event.selection
        self._dropping.discard(which)
        if isinstance(event, ClassFailed):
            self.class_orders[which] = self.now + self.limits.offline_retry_s_first
        else:
            self.class_orders.pop(which, None)

    def why_not_sent(self, device: str, collection: str) -> str:
        """Why the selection of a device cannot be applied; empty: it can, as far as is known."""
        source, selection = self.sources.get(collection), self.selection_of(device, collection)
        classes = source.state.classes if source is not None and source.state is not None else ()
        return next((one.broken for one in classes if one.selection == selection), "")

    # ------------------------------------------------------------ who is behind

    def _fall_behind(self, name: str, before: CollectionState | None) -> None:
        """Devices that are linked and were at the head have something to do from here on; others report when they come
        again."""
        state = self.sources[name].state
        if before is None or state is None or before.head == state.head:
            return
        heads: dict[Selection, tuple[int, int]] = {}
        for device in self.peers:
            standing = self.standings.get((device, name))
            if standing is None:
                continue
            selection = self.selection_of(device, name)
            if selection not in heads:
                was, now = before.of(selection), state.of(selection)
                heads[selection] = (was.head, now.head) if was is not None and now is not None else (0, 0)
            head, moved = heads[selection]
            if head != moved and standing.report.position >= head:
                self.standings[device, name] = replace(standing, moved_at=self.now)


def _is_lacking(known: ClassState | None) -> bool:
    return known is None or not (known.ready or known.broken)
