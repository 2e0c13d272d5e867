"""One seeded story in two directions: what the applications, persons, the network and the machines do, then peace."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from typing import Any

from syncd.adapters.canonical import pack_values, unpack_values
from syncd.core.edits import Direction, Policy
from syncd.core.model import ObjectId
from syncd.core.upward_effects import SettleWritten, WriteNow, WriteUploads
from tests.sim.daemon import approve_held
from tests.sim.edits_rules import r10_downloads, r10_uploads, r12_one_message
from tests.sim.edits_watcher import EditsWatcher
from tests.sim.edits_world import EditsWorld
from tests.sim.network import PRIMARY, finish
from tests.sim.telling import Plan, Tale, tell, told
from tests.two_way_kit import NAME, note, text

_SLOW = (WriteNow, WriteUploads, SettleWritten)


class EditsStory(Tale[EditsWorld, EditsWatcher]):
    def __init__(self, seed: int) -> None:
        self.rng = random.Random(f"edits {seed}")
        rng = self.rng
        self._keys = rng.choice((2, 4, 7))  # few: groups share objects; many: they stand alone
        devices = [letter * 52 for letter in "ABC"[: rng.choice((1, 2, 2, 3))]]
        direction = Direction.OUT if rng.random() < 0.12 else Direction.BOTH
        self.world = world = EditsWorld(seed, devices, direction, rng.choice(list(Policy)))
        self._versions = 0
        world.source.rows = {self._object(): self._fields(None) for _ in range(rng.randrange(8))}
        self.watcher = EditsWatcher(world)
        if direction is Direction.OUT and rng.random() < 0.5:
            world.keep_edits.add(devices[-1])
        self._merge()
        world.begin(*devices)
        self._copies: dict[str, list[Any]] = {}
        self._source_copy: Any = None
        self._store_copy: Any = None
        self._begin()

    def _merge(self) -> None:
        """A device that holds objects before it is accepted."""
        world, rng = self.world, self.rng
        if world.terms[0] is Direction.BOTH and rng.random() < 0.3:
            device = rng.choice(world.devices)
            world.merge.add(device)
            world.begin_with(device)
            own = {self._object(): self._fields(None) for _ in range(rng.randrange(5))}
            own |= {one: world.source.rows[one] for one in own if one in world.source.rows and rng.random() < 0.4}
            if own:
                self.watcher.edit(device, own)

    # ------------------------------------------------------------ applications

    def _object(self) -> ObjectId:
        key = self.rng.randrange(self._keys)
        return note(key) if self.rng.random() < 0.7 else ObjectId("tag", pack_values([key]))

    def _fields(self, old: bytes | None) -> bytes:
        """Another version: of one field or of both, at times one that was there before."""
        self._versions += 1
        fresh = f"v{self._versions}"
        if old is None or len(unpack_values(old)) < 2:
            return text(fresh, fresh)
        title, body = (str(value) for value in unpack_values(old))
        return text(fresh, body) if self.rng.random() < 0.5 else text(title, fresh)

    def _changes(self, rows: dict[ObjectId, bytes]) -> dict[ObjectId, bytes | None]:
        rng = self.rng
        changes: dict[ObjectId, bytes | None] = {}
        for _ in range(rng.choice((1, 1, 1, 2, 3, 5))):
            one = self._object()
            if rng.random() < 0.2:
                changes[one] = None
            elif rng.random() < 0.1 and one in self.world.source.rows:
                changes[one] = self.world.source.rows[one]
            else:
                changes[one] = self._fields(rows.get(one))
        return changes

    def _commit(self) -> None:
        self.watcher.commit(self._changes(self.world.source.rows))
        self.world.note("the primary commits")

    def _edit(self) -> None:
        device = self._device()
        target = self.world.targets[device]
        if target.state.epoch or device in self.world.merge:
            changes = self._changes(target.rows)
            self.watcher.edit(device, changes)
            self.world.note(f"{device[0]} commits {[(one.type, unpack_values(one.key)[0]) for one in changes]}")

    # ------------------------------------------------------------ persons

    def _undo(self) -> None:
        if self.world.primary.sources[NAME].ready and (groups := finish(self.world.store.groups(NAME, 5))):
            self.world.undo(self.rng.choice(groups).seq)

    def _resolve(self) -> None:
        conflicts = finish(self.world.uploads.conflicts(NAME, False))
        if conflicts and self.world.primary.sources[NAME].ready:
            self.world.resolve(self.rng.choice(conflicts).id, self.rng.choice(("ours", "theirs")))

    # ------------------------------------------------------------ faults

    def _refuse_here(self) -> None:
        self.world.failing[self._object()] = "CHECK constraint failed"

    def _refuse_there(self) -> None:
        if self.world.keep_edits:
            return  # what is kept there keeps what failed there from being tried again
        self.world.targets[self._device()].failing[self._object()] = "CHECK constraint failed"

    def _writer_goes_or_comes(self) -> None:
        self.world.offline_writer = not self.world.offline_writer

    def _writer_slow_or_fast(self) -> None:
        """What is executed or settled takes its time."""
        self.world.nodes[PRIMARY].slow = self.rng.choice(((), (WriteNow,), (SettleWritten,), _SLOW, _SLOW))

    def _source_goes_or_comes(self) -> None:
        self.world.source.offline = "" if self.world.source.offline else "the disk is not mounted"

    def _target_goes_or_comes(self) -> None:
        target = self.world.targets[self._device()]
        target.offline = "" if target.offline else "locked"

    def _off_or_on(self) -> None:
        device = self._device()
        (self.world.switch_on if device in self.world.off else self.world.switch_off)(device)

    def _lose_log(self) -> None:
        device = self._device()
        if self.world.targets[device].state.epoch:
            self.world.note(f"{device[0]}'s log is lost")
            self.world.targets[device].lose_log()
            self.watcher.shaken(device)

    def _restore_target(self) -> None:
        """The application's data on a device is an older copy of itself."""
        device = self._device()
        copies, own = self._copies.setdefault(device, []), self.watcher.own[device]
        if not self.world.targets[device].state.epoch or self.world.keep_edits:
            return
        if copies and self.rng.random() < 0.5:
            data, commits = self.rng.choice(copies)
            self.world.restore_target(device, data)
            self.watcher.restored(device, commits)
        elif not own.doubt and not own.but:
            copies.append((self.world.copy_target(device), list(own.commits)))

    def _restore_source(self) -> None:
        """The primary's application is an older copy of itself; not while changes were read in part, of which a page
        tells more than its mark does: a copy that ends at that mark would not be told from it."""
        state = finish(self.world.store.open_collection(NAME))
        if self._source_copy is not None and self.rng.random() < 0.5 and state.published:
            copied, executed = self._source_copy
            self.world.restore_source(copied)
            self.watcher.source_restored(executed)
        else:
            self._source_copy = self.world.source.copy(), set(self.watcher.executed)

    def _restore_store(self) -> None:
        """The sync store is an older copy of itself."""
        if self._store_copy is not None and self.rng.random() < 0.5:
            self.world.restore_store(self._store_copy)
            self.watcher.store_restored()
        elif self.world.primary.sources[NAME].ready:
            self._store_copy = self.world.copy_store()

    def _plan(self) -> Plan:
        rng, world = self.rng, self.world
        return [
            (75.0, world.work),
            (1.5, lambda: self._stream(self._commit, self._commit, self._edit)),
            (4.0, self._commit),
            (12.0, self._edit),
            (12.0, world.wake),
            (10.0, lambda: world.connect(self._device())),
            (3.0, lambda: world.cut(self._device())),
            (1.5, self._crash),
            (2.5, lambda: world.work(rng.randint(0, 4))),
            (3.0, self._time_passes),
            (1.0, self._undo),
            (1.0, self._resolve),
            (0.5, lambda: world.set_policy(rng.choice(list(Policy)))),
            (1.5, self._refuse_here),
            (1.0, world.failing.clear),
            (1.0, self._refuse_there),
            (1.0, lambda: world.targets[self._device()].failing.clear()),
            (0.6, self._writer_goes_or_comes),
            (1.5, self._writer_slow_or_fast),
            (0.4, self._source_goes_or_comes),
            (0.8, self._target_goes_or_comes),
            (0.8, self._off_or_on),
            (0.3, world.source.lose_log),
            (0.4, self._lose_log),
            (0.6, world.prune),
            (0.5, self._restore_target),
            (0.3, self._restore_source),
            (0.2, self._restore_store),
        ]

    # ------------------------------------------------------------ peace

    def peace(self) -> None:
        """The faults end, one after the other; then all is as it should be."""
        world = self.world
        world.nodes[PRIMARY].slow = ()
        world.source.offline = ""
        world.failing.clear()
        for device in world.devices:
            world.switch_on(device)
            world.targets[device].offline = ""
            world.targets[device].failing.clear()
        if self.rng.random() < 0.3:
            self._uploads_are_stuck()
        world.offline_writer = False
        if self.rng.random() < 0.3 and not world.keep_edits:
            self._downloads_are_stuck()
        self._settle(self.watcher.at_rest)
        self.watcher.end()
        self._one_edit()

    def _uploads_are_stuck(self) -> None:
        self.world.offline_writer = True
        self._settle(self.watcher.downloaded, rounds=12)
        self.watcher.met["R10 downloads"] += 1
        positions = {device: self.watcher.position(device) for device in self.world.devices}
        r10_downloads(positions, finish(self.world.store.open_collection(NAME)).head)

    def _downloads_are_stuck(self) -> None:
        """What the primary sends is refused by each application."""
        world, rng = self.world, self.rng
        known = {*world.source.rows, *(self._object() for _ in range(4))}
        for target in world.targets.values():
            target.failing.update(dict.fromkeys(known, "CHECK constraint failed"))
        self._commit()
        for _ in range(rng.randint(1, 3)):
            self._edit()
        self._settle(lambda: not any(self.watcher.undecided().values()), rounds=30)
        self.watcher.met["R10 uploads"] += 1
        r10_uploads(self.watcher.undecided())
        for target in world.targets.values():
            target.failing.clear()

    def _one_edit(self) -> None:
        """The echo test, on whatever the story has left."""
        world, watcher = self.world, self.watcher
        if world.terms[0] is not Direction.BOTH:
            return
        for device in world.devices:
            watcher.rows.clear()
            watcher.edits.clear()
            self._versions += 1
            watcher.edit(device, {note(100 + self._versions): text(f"v{self._versions}")})
            self._settle(self.watcher.at_rest)
            watcher.met["R12 one"] += 1
            r12_one_message(watcher.edits, watcher.rows, device, world.devices)
        watcher.end()

    def _settle(self, done: Callable[[], bool], rounds: int = 200) -> None:
        for _ in range(rounds):
            self.world.round()
            approve_held(self.world.nodes[PRIMARY].ports, NAME)
            self.watcher.look()
            if done():
                return
        if rounds == 200:
            raise AssertionError(f"the devices never agree: {self.watcher.waiting()}")


def run_edits_story(seed: int, steps: int = 500) -> Counter[str]:
    """How often each rule was asked. Raises AssertionError with the seed and what happened last."""
    return told(EditsStory(seed), steps, f"two-way seed {seed}")


if __name__ == "__main__":
    tell(run_edits_story, "two-way stories")
