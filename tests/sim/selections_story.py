"""One seeded story with selections: what devices take changes while they are away, linked, or amid a transfer, while
the applications on both sides change the same objects; then peace.

R2 and R8 are asked of every device in every state: what is known to be proven there is what its selection takes of the
primary's state at its position; what it is sent its selection takes; and what it is told to delete its selection took
at its position or since then, or its own application made. Devices are unlinked at times, and linked again (R9). In
most stories much is deleted at once at times, with the log that tells of it or without, an older copy is put in the
place of the primary's data, and selections that take very much away are held: then R13 is asked as well, until persons
approve or reject what is held.
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace

from syncd.adapters.canonical import pack_values, unpack_values
from syncd.applications.memory import Copy
from syncd.core.edits import Direction, Policy
from syncd.core.events import StoreMoved
from syncd.core.guard import guard_of_groups
from syncd.core.messages import Begin, Objects, Report
from syncd.core.messages import Wire as Message
from syncd.core.model import Kind, ObjectId, Span, Spans
from syncd.core.primary_engine import PrimaryEngine
from syncd.core.selection import ALL, Selection
from tests.sim.contents import contents, parked
from tests.sim.edits_world import LIMITS, EditsWorld, Watching
from tests.sim.guard_watch import GuardWatch
from tests.sim.history import State
from tests.sim.invariants import r4_durable
from tests.sim.network import PRIMARY, Heard, finish
from tests.sim.telling import Plan, Tale, tell, told
from tests.two_way_kit import NAME, note, taken

COUNTRIES = ("FR", "DE", "IT")
SELECTIONS = (
    ALL,
    Selection('title == "FR"'),
    Selection('title in ("FR", "DE")'),
    Selection('type == "tag" or title != "IT"'),
    Selection("id < 3"),
    Selection(tables=("tag",)),
    Selection(keys=("!note/1",)),
    Selection('title == "nowhere"'),
    Selection(without=("text",)),
    Selection('title == "FR"', without=("text",)),
    Selection('type == "note" and title != "IT"', follow=("note.title",)),
    Selection("id < 2", follow=("note.title", "tag.name")),
)


GUARDED = replace(LIMITS, guard_s=86_400.0, guard_objects_min=4, guard_percent_min=50)


class Watcher(Watching):
    """``published``: states of the primary by the store's epoch and number. ``ever``: what was in any of them that a
    selection takes, and the number of the last. ``base``: where each device stands at least, of what it is being sent.
    ``made``: by the application of each device."""

    def __init__(self, world: EditsWorld) -> None:
        self.world = world
        world.observer = self
        self.met: Counter[str] = Counter()
        self.published: dict[tuple[str, int], State] = {}
        self.selection_of: dict[str, Selection] = {}  # by epoch
        self.ever: dict[Selection, dict[ObjectId, int]] = {selection: {} for selection in SELECTIONS}
        self.base: dict[str, int] = {}
        self.made: dict[str, set[ObjectId]] = {device: set() for device in world.devices}
        self.edited: set[str] = set()
        self.epochs = 1  # that the store has had, as far as it was told to
        self.guard = GuardWatch(world, self.met)

    def port(self, device: str, name: str) -> dict[str, Heard]:
        return {"keep": lambda args, result: self.guard.look(result)} if name == "store" else {}

    def publication(self) -> None:
        state = finish(self.world.store.open_collection(NAME))
        self.selection_of[state.epoch] = ALL
        for one in state.classes:
            assert self.selection_of.setdefault(one.epoch, one.selection) == one.selection, "an epoch of two classes"
        if state.published and state.imported and (state.epoch, state.head) not in self.published:
            rows = self.published[state.epoch, state.head] = contents(self.world.store, NAME)[0]
            for selection, ever in self.ever.items():
                ever.update(dict.fromkeys(taken(selection, rows), state.head))

    def look(self) -> None:
        self.publication()
        self.guard.look(finish(self.world.store.open_collection(NAME)))
        assert len(self.world.epochs) == self.epochs, "R4: a device was taken for one that is ahead of the store"
        for device in self.world.devices:
            if device not in self.edited and device not in self.world.off:
                self._held(device)

    def _held(self, device: str) -> None:
        known, target = self.world.target(device), self.world.targets[device]
        if not known.match or known.state != target.state or parked(self.world.queues[device], NAME):
            return
        epoch, position = target.state.epoch, target.state.position
        state = self.published.get((epoch.partition(".")[0], position))
        if state is not None and epoch in self.selection_of:
            self.met["R2 " + self.selection_of[epoch].canonical] += 1
            assert target.rows == taken(self.selection_of[epoch], state), f"R2: {device[0]} at {epoch} {position}"
            if position >= finish(self.world.store.open_collection(NAME)).head:
                self.guard.shows(self.selection_of[epoch], target.rows)

    def fell_back(self, device: str) -> None:
        self.met["R4 power"] += 1

    def sent(self, sender: str, device: str, message: Message) -> None:
        if isinstance(message, Report):
            r4_durable(message, self.world.powered[device].durable)

    def leaves(self, device: str, message: Message) -> None:
        if isinstance(message, Begin):
            self.met[f"R5 {message.reason}"] += message.snapshot
            self.base[device] = max(message.base, message.floor)
        if not isinstance(message, Objects):
            return
        assert device not in self.world.unlinked, f"R9: {device[0]} is sent objects, linked with nobody"
        self.publication()
        selection = self.world.selected.get(device, ALL)
        types = finish(self.world.store.open_collection(NAME)).types
        names = {one.id: one.name for one in (*types, *selection.of_types(types))}
        for kind, type_, key, fields in zip(message.kinds, message.types, message.keys, message.fields, strict=True):
            one = ObjectId(names[type_], key)
            if kind == Kind.DELETE:
                self.met["R8 delete"] += 1
                self.guard.deletes(selection, one)
                # one that takes everything may hear of what came and went within a transaction that was read in parts
                may_hold = self.ever[selection].get(one, -1) >= self.base[device]
                known = selection == ALL or may_hold or one in self.made[device]
                assert known, f"R8: {device[0]} is told to delete {one}, which it cannot hold"
            else:
                self.met["R8 object"] += selection != ALL
                if selection.without and one.type == "note":
                    self.met["R8 fewer fields"] += 1
                    assert len(unpack_values(fields)) == 1, f"R8: {device[0]} is sent a field that is left out"
                    continue  # what is left out may be asked for all the same
                lent = selection.follow and one in self.ever[selection]
                assert lent or taken(selection, {one: fields}), f"R8: {device[0]} is sent {one}, not taken"
        if message.cut is not None:
            self.base[device] = message.cut.seq


class SelectionsStory(Tale[EditsWorld, Watcher]):
    world_of: type[EditsWorld] = EditsWorld
    watcher_of: type[Watcher] = Watcher

    def __init__(self, seed: int) -> None:
        self.rng = rng = random.Random(f"selections {seed}")
        self._keys = rng.choice((2, 4, 7))
        devices = [letter * 52 for letter in "ABC"[: rng.choice((1, 2, 2, 3))]]
        self._guarded = rng.random() < 0.7
        limits = GUARDED if self._guarded else LIMITS
        self.world = world = self.world_of(seed, devices, Direction.BOTH, rng.choice(list(Policy)), limits)
        self._versions = 0
        self._engine: PrimaryEngine | None = None  # of which it was said what the one before may have sent
        self._edits = rng.random() < 0.5
        self._held: dict[str, Selection] = {}  # by device, until a person decides
        self._copy: Copy | None = None  # of the primary's data
        world.source.rows = dict(self._made() for _ in range(rng.randrange(10)))
        self.watcher = self.watcher_of(world)
        for device in devices:
            world.select(device, rng.choice(SELECTIONS))
        world.begin(*devices)
        self._begin()

    def _made(self) -> tuple[ObjectId, bytes]:
        self._versions += 1
        country, key = self.rng.choice(COUNTRIES), self.rng.randrange(self._keys)
        if self.rng.random() < 0.4:
            named = key if self.rng.random() < 0.5 else self.rng.choice(COUNTRIES)  # those are referenced
            return ObjectId("tag", pack_values([named])), pack_values([country])
        return note(key), pack_values([country, f"v{self._versions}"])

    def _changes(self) -> dict[ObjectId, bytes | None]:
        made = [self._made() for _ in range(self.rng.choice((1, 1, 2, 3, 5)))]
        return {one: None if self.rng.random() < 0.2 else fields for one, fields in made}

    def _commit(self) -> None:
        self.world.source.commit(self._changes())

    def _delete_much(self) -> None:
        """By mistake, and something else in the same transaction."""
        rows = self.world.source.rows
        if self._guarded and rows:
            gone = self.rng.sample(sorted(rows), self.rng.randint((len(rows) + 1) // 2, len(rows)))
            self.world.note(f"{len(gone)} of {len(rows)} objects are deleted")
            self.world.source.commit(dict([self._made()]) | dict.fromkeys(gone))
            if self.rng.random() < 0.3:
                self.world.source.lose_log()

    def _restore_source(self) -> None:
        """The primary's application is put back to a copy made before; not while changes were read in part: see
        ``EditsStory``."""
        if self._copy is not None and self.rng.random() < 0.5:
            if finish(self.world.store.open_collection(NAME)).published:
                self.world.restore_source(self._copy)
                self.watcher.met["restored"] += 1
                self.watcher.met["R13 restored while held"] += bool(self.watcher.guard.standing)
        else:
            self._copy = self.world.source.copy()

    def _link_or_unlink(self) -> None:
        device = self._device()
        self.world.link_or_unlink(device, device in self.world.unlinked)
        self.watcher.met["unlinked"] += len(self.world.unlinked)

    def _decide(self) -> None:
        self.rng.choice((self.watcher.guard.approve, self.watcher.guard.reject))()

    def _decide_settings(self) -> None:
        """A person approves or rejects a selection that is held."""
        device = self._device()
        selection = self._held.pop(device, None)
        if selection is not None and self.rng.random() < 0.7:
            self.world.note(f"the selection of {device[0]} that was held is approved")
            self.world.select(device, selection)

    def _edit(self) -> None:
        device = self._device()
        epoch = self.world.targets[device].state.epoch
        if self._edits and epoch:
            changes = self._narrowed(self._changes(), self.watcher.selection_of.get(epoch, ALL))
            self.watcher.edited.add(device)
            self.watcher.made[device].update(changes)
            self.world.targets[device].commit(changes)

    @staticmethod
    def _narrowed(changes: dict[ObjectId, bytes | None], held: Selection) -> dict[ObjectId, bytes | None]:
        """As an application changes objects that have fewer fields there."""
        if not held.without:
            return changes
        return {
            one: pack_values(unpack_values(fields)[:1]) if fields is not None and one.type == "note" else fields
            for one, fields in changes.items()
        }

    def _select(self) -> None:
        """What is said later takes the place of what is held."""
        device, selection = self._device(), self.rng.choice(SELECTIONS)
        self._held.pop(device, None)
        if self._guarded and self._takes_much(device, selection):
            self.world.note(f"{selection.canonical} is held, and not set on {device[0]}")
            self._held[device] = selection
            self.watcher.met["R13 selection held"] += 1
        else:
            self.world.select(device, selection)

    def _takes_much(self, device: str, selection: Selection) -> bool:
        """As ``syncd.settings_guard`` counts it, and as what is published says."""
        store, before = self.world.store, self.world.selected.get(device, ALL)
        state = finish(store.open_collection(NAME))
        lost = finish(store.leaving(NAME, (before, selection), 0, 1_000))
        if state.published and state.imported and not (before.follow or selection.follow):  # see ``gathering``
            rows = contents(store, NAME)[0]
            had, takes = taken(before, rows), taken(selection, rows)
            assert (lost.objects, lost.of) == (len(had.keys() - takes.keys()), len(had)), "R13: not what is taken away"
            self.watcher.met["R13 taken away"] += lost.objects > 0
        guard = guard_of_groups(GUARDED)
        return guard is not None and guard.holds(lost.objects, 0, lost.of)

    def _off_or_on(self) -> None:
        device = self._device()
        (self.world.switch_on if device in self.world.off else self.world.switch_off)(device)

    def _refuse_there(self) -> None:
        self.world.targets[self._device()].failing[self._made()[0]] = "CHECK constraint failed"

    def _prune_classes(self) -> None:
        """Forgets more than it should at times: then devices need a snapshot (R5)."""
        state = finish(self.world.store.open_collection(NAME))
        for one in state.classes:
            if one.ready:
                finish(self.world.store.prune_class(NAME, one.selection, self.rng.randint(0, one.head), 0))
        self.world.nodes[PRIMARY].take(StoreMoved(finish(self.world.store.open_collection(NAME))))

    def _forget_gone(self) -> None:
        """Forgets what no device can hold. A primary that died does not know what it had sent before."""
        world, state = self.world, finish(self.world.store.open_collection(NAME))
        engine = world.primary
        if self._engine is not engine:
            self._engine = engine
            for device in world.devices:
                spans = engine.reaches.spans.setdefault((device, NAME), {})
                for epoch in (state.epoch, *(one.epoch for one in state.classes)):
                    spans[epoch] = Span(0, state.head)
        for selection in (ALL, *(one.selection for one in state.classes if one.ready and not one.broken)):
            takers = [one for one in world.devices if engine.selection_of(one, NAME) == selection]
            spans_of = [span for one in takers for span in engine.spans_of(one, NAME)]
            finish(world.store.forget_gone(NAME, selection, Spans(spans_of), state.head))
        world.nodes[PRIMARY].take(StoreMoved(finish(world.store.open_collection(NAME))))

    def _new_epoch(self) -> None:
        finish(self.world.store.new_epoch())
        self.watcher.epochs += 1
        self.world.crash(PRIMARY)

    def _plan(self) -> Plan:
        rng, world = self.rng, self.world
        return [
            (75.0, world.work),
            (1.5, lambda: self._stream(self._commit)),
            (6.0, self._commit),
            (6.0, self._edit),
            (1.0, self._delete_much),
            (1.0, self._restore_source),
            (1.0, self._decide),
            (1.0, self._decide_settings),
            (0.7, self._link_or_unlink),
            (3.0, self._select),
            (12.0, world.wake),
            (10.0, lambda: world.connect(self._device())),
            (2.0, lambda: world.cut(self._device())),
            (1.0, self._crash),
            (2.0, lambda: world.work(rng.randint(0, 4))),
            (3.0, self._time_passes),
            (1.0, self._refuse_there),
            (1.0, lambda: world.targets[self._device()].failing.clear()),
            (1.0, self._off_or_on),
            (0.6, world.prune),
            (0.3, self._prune_classes),
            (2.0, self._forget_gone),
            (0.1, self._new_epoch),
        ]

    def peace(self) -> None:
        """The faults end; each device holds what its selection takes, and nothing waits."""
        world = self.world
        for device in world.devices:
            world.switch_on(device)
            if device in world.unlinked:
                world.link_or_unlink(device, True)
            world.targets[device].failing.clear()
        for _ in range(200):
            world.round()
            self.watcher.look()
            self._decide()
            if all(self._at_rest(device) for device in world.devices):
                return
        raise AssertionError(f"the devices never agree: {[one[0] for one in world.devices if not self._at_rest(one)]}")

    def _at_rest(self, device: str) -> bool:
        world = self.world
        if finish(world.store.open_collection(NAME)).held is not None:
            return False
        return world.quiet(device) and world.targets[device].rows == world.chosen(device, world.source.rows)


def run_selections_story(seed: int, steps: int = 400) -> Counter[str]:
    """How often each rule was asked. Raises AssertionError with the seed and what happened last."""
    return told(SelectionsStory(seed), steps, f"selections seed {seed}")


if __name__ == "__main__":
    tell(run_selections_story, "stories with selections")
