"""A world in which the applications of all devices change the same collection, on links that break, under daemons that
crash and are switched off (``tests/two_way_kit.py`` builds them).

All faults are chosen by one seeded generator.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from syncd.applications.memory_writer import MemoryWriter
from syncd.core.edits import Direction, Edit, EditGroup, Fact, Policy, Written
from syncd.core.errors import ApplicationOffline, UserError
from syncd.core.events import StoreMoved
from syncd.core.settings import Limits
from tests.sim.daemon import Observer
from tests.sim.edits_rules import Decided
from tests.sim.network import PRIMARY, finish
from tests.sim.power import PoweredOutbox, PoweredTarget
from tests.two_way_kit import NAME, House

LIMITS = Limits(
    frame_bytes=150,
    chunk_rows_max=4,
    scan_rows_max=3,
    ties_max=4,
    window_bytes_max=900,
    credit_bytes=200,
    direct_bytes_max=150,
    waiting_cuts_max=3,
    hello_s_max=1e9,  # time leaps while nothing is said
    offline_retry_s_first=0.1,
    offline_retry_s_max=1.0,
    park_retry_s_first=1.0,
    park_retry_s_max=4.0,
    guard_s=0.0,  # in so small collections much is deleted every day
    upload_window_bytes_max=300,
    upload_direct_bytes_max=400,
    unstaged_bytes_max=900,
    verdicts_max=2,
    written_max=4,
    uploads_together_max=3,
)


class Watching(Observer):
    """What a world tells beside the calls of its ports. This one does not listen."""

    def decided(self, seen: Decided) -> None:
        """A group of edits met the primary's application."""

    def committed(self) -> None:
        """A transaction of the primary's application, whoever made it."""


class EditsWorld(House):
    def __init__(
        self, seed: int, devices: Sequence[str], direction: Direction, policy: Policy, limits: Limits = LIMITS
    ) -> None:
        super().__init__(direction, policy, limits, seed)
        self.off: set[str] = set()
        self.unlinked: set[str] = set()
        self.devices = list(devices)
        self.observer = Watching()
        self._deeds = itertools.count(1)
        self.powered = {device: PoweredTarget(captures=True) for device in devices}
        self.targets.update(self.powered)

    @property
    def watching(self) -> Watching:
        assert isinstance(self.observer, Watching)
        return self.observer

    # ------------------------------------------------------------ daemons

    def switch_off(self, device: str) -> None:
        """Its daemon ends; its application goes on."""
        if device not in self.off:
            self.note(f"{device[0]} is switched off")
            for end in self.nodes.pop(device).ends.values():
                end.wire.cut(self.rng)
            self.off.add(device)

    def switch_on(self, device: str) -> None:
        if device in self.off:
            self.note(f"{device[0]} is switched on")
            self.off.discard(device)
            self.start(device)

    def connect(self, device: str) -> None:
        if device not in self.off:
            super().connect(device)

    def cut(self, device: str) -> None:
        if device not in self.off:
            super().cut(device)

    def crash(self, device: str) -> None:
        """At times its power is cut."""
        if device in self.off:
            return
        if device != PRIMARY and self.rng.random() < 0.5:
            self._cut_power(device)
        super().crash(device)

    def _cut_power(self, device: str) -> None:
        target, outbox = self.powered[device], self.outboxes[device]
        assert isinstance(outbox, PoweredOutbox)
        gone = [target.cut_power(self.rng), outbox.cut_power(self.rng)]
        self.note(f"the power of {device[0]} is cut: it is at {target.state.position}, {gone}")
        if any(gone):
            self.observer.fell_back(device)

    def new_outbox(self, device: str) -> PoweredOutbox:
        identities = itertools.count(1)
        return PoweredOutbox(self.limits, lambda: f"{device[0]}{next(identities)}")

    def begin_with(self, device: str) -> None:
        """Its application holds objects of its own before it is accepted."""
        self.powered[device] = self.targets[device] = PoweredTarget(replace=True, captures=True)

    def _writer(self) -> MemoryWriter:
        writer = WatchedWriter(self)
        writer.failing = self.failing
        return writer

    def start(self, device: str) -> None:
        super().start(device)
        if device == PRIMARY:
            self.primary.users |= dict.fromkeys(self.unlinked, ())

    def link_or_unlink(self, device: str, linked: bool) -> None:
        """Whether the device may have anything (R9); it outlives crashes."""
        self.note(f"{device[0]} is {'linked' if linked else 'unlinked'}")
        (self.unlinked.discard if linked else self.unlinked.add)(device)
        self.nodes[PRIMARY].order(self.primary.relink(device, ("ada",) if linked else ()))

    # ------------------------------------------------------------ terms and deeds

    def set_policy(self, policy: Policy) -> None:
        self.note(f"the policy becomes {policy}")
        self.terms = self.terms[0], policy
        self.nodes[PRIMARY].order(self.primary.set_terms(NAME, *self.terms))

    def do(self, edits: tuple[Edit, ...], policy: Policy | None, words: str) -> Written | None:
        """What a person at the primary does (``syncd.deeds``): as far as its application can be written."""
        ports = self.nodes[PRIMARY].ports
        group = EditGroup("", f"deed {next(self._deeds)}", 1, int(self.now * 1e6), edits, author=f"{PRIMARY} {words}")
        writer = ports.writers[NAME]
        try:
            facts = finish(self.store.facts(NAME, edits))
            known = {(edit.type, edit.key): fact for edit, fact in zip(edits, facts, strict=True)}
            written = finish(writer.write([group], policy, known))[0]
        except ApplicationOffline:
            return None
        self.note(f"{words}: {written.ruling}")
        finish(writer.settled([(group.device, group.outbox, group.number)]))
        return written

    def undo(self, seq: int) -> Written | None:
        try:
            edits = finish(self.store.inverse(NAME, seq))
        except UserError:
            return None  # too long ago
        return self.do(edits, None, f"undo {NAME}:{seq}")

    def resolve(self, id_: int, take: str) -> None:
        """All of it, or nothing."""
        conflict = finish(self.uploads.conflict(id_))
        assert conflict is not None
        ids = {one.name: one.id for one in finish(self.store.open_collection(NAME)).types}
        edits: list[Edit] = []
        for side in conflict.sides:
            held, wanted = self.source.rows.get(side.object), side.ours if take == "ours" else side.theirs
            if held != wanted:
                edits.append(Edit(ids[side.object.type], side.object.key, held, wanted))
        if not edits or self.do(tuple(edits), Policy.PRIMARY, f"resolve {id_}") is not None:
            finish(self.uploads.resolve(id_, take))

    # ------------------------------------------------------------ copies

    def copy_target(self, device: str) -> Any:
        target = self.targets[device]
        return target.copy(), target.state

    def restore_target(self, device: str, copied: Any) -> None:
        """The application's data on a device is an older copy of itself."""
        target, (data, state) = self.powered[device], copied
        self.note(f"{device[0]}'s application is restored to {state.position}")
        was_off = device in self.off
        self.switch_off(device)
        target.put_back(data)
        target.state = state
        target.last_for_ever()
        if not was_off:
            self.switch_on(device)

    def restore_source(self, copied: Any) -> None:
        self.note("the primary's application is restored")
        self.source.put_back(copied)

    def copy_store(self) -> Any:
        return copy.deepcopy(vars(self.store)["_collections"])

    def restore_store(self, copied: Any) -> None:
        """The sync store is an older copy of itself, and says so."""
        self.note("the store is restored")
        for node in self.nodes.values():
            for end in node.ends.values():
                end.wire.drop()
        vars(self.store)["_collections"] = copy.deepcopy(copied)
        finish(self.store.new_epoch())
        self.crash(PRIMARY)

    def prune(self) -> None:
        """Forgets tombstones and groups, too many of them at times: then devices need a snapshot (R5)."""
        state = finish(self.store.open_collection(NAME))
        passed = min(target.state.position for target in self.targets.values())
        if self.rng.random() < 0.5 and state.head:
            passed = self.rng.randint(0, state.head)
        finish(self.store.prune(NAME, passed, 0))
        self.note(f"pruned up to {passed}")
        self.nodes[PRIMARY].take(StoreMoved(finish(self.store.open_collection(NAME))))

    # ------------------------------------------------------------ peace

    def round(self, steps: int = 20_000) -> None:
        """Everybody is linked, everything that can be done is done, and time passes."""
        for device in self.devices:
            self.connect(device)
        self.wake()
        self.run(steps)
        self.now += 5.0
        for node in self.nodes.values():
            node.take_tick()
        self.run(steps)


class WatchedWriter(MemoryWriter):
    """One that cannot write while ``House.offline_writer``, and tells what it did."""

    def __init__(self, world: EditsWorld) -> None:
        super().__init__(world.source, ["note"])
        self._world = world

    async def write(
        self, groups: Sequence[EditGroup], policy: Policy | None, facts: Mapping[tuple[int, bytes], Fact]
    ) -> Sequence[Written]:
        if self._world.offline_writer:
            raise ApplicationOffline("it is locked")
        before = dict(self._world.source.rows)
        written = await super().write(groups, policy, facts)
        if before != self._world.source.rows:
            self._world.watching.committed()
        return written

    def _group(self, group: EditGroup, policy: Policy | None, facts: Mapping[tuple[int, bytes], Fact]) -> Written:
        rows = self._world.source.rows
        before = dict(rows)
        written = super()._group(group, policy, facts)
        self._world.watching.decided(Decided(group, policy, facts, before, dict(rows), written, dict(self._names())))
        return written
