"""Watches a world: remembers each state that the application had and each that was published, hears each call of a port
and each message, and holds them against the rules (``invariants.py``).

``met`` counts what was looked at, so that a test can tell a rule that held from one that was never asked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from syncd.core import events as ev
from syncd.core.digest import EMPTY
from syncd.core.effects import BeginTransfer
from syncd.core.messages import Begin, Follow, Objects, Report
from syncd.core.messages import Wire as Message
from syncd.core.model import Kind, ObjectId
from syncd.core.ports import Executed, Tried, Unexecuted, Work
from tests.sim import invariants as rules
from tests.sim.contents import COLLECTION, contents, durable, parked
from tests.sim.daemon import Observer, held_objects
from tests.sim.history import Came, Group, Held, Publication, Saying, State, in_snapshot, rows_of, runs_of, ties
from tests.sim.network import Frame, Heard, finish
from tests.sim.world import OTHER, World


class Past(NamedTuple):
    """What was published when a copy of the store was made."""

    last: Publication | None
    groups: list[Group]


class Watcher(Observer):
    def __init__(self, world: World) -> None:
        self.world = world
        world.observer = self
        self.committed: list[State] = []
        self.last: Publication | None = None
        self.published: dict[tuple[str, int], State] = {}
        self.digests: dict[tuple[str, int], bytes] = {}
        self.groups: list[Group] = []
        self.groups_of: dict[str, list[Group]] = {}  # by epoch
        self.reads: dict[Frame, int] = {}
        self.touched: set[ObjectId] = set()
        self.meddled: dict[str, set[ObjectId]] = {device: set() for device in world.devices}  # at any time
        self.fallen: set[str] = set()  # devices that a power cut took back
        self.met: Counter[str] = Counter()
        self.held = {device: Held({}, target.state) for device, target in world.targets.items()}
        self.commit({})
        self._mark = 0
        types = [replace(one, id=i) for i, one in enumerate(world.captured.types)]
        self._names = {one.id: one.name for one in types}
        finish(world.captured.number(types))

    # ------------------------------------------------------------ what the story does

    def commit(self, changes: Mapping[ObjectId, bytes | None]) -> None:
        """The application commits; an object that cannot be read is seen without fields."""
        source = self.world.source
        source.commit(changes)
        self.world.keys[COLLECTION].update(one.key for one in changes)
        self.committed.append({one: b"" if one in source.faults else fields for one, fields in source.rows.items()})

    def touch(self, one: ObjectId) -> None:
        """The application of the first auxiliary writes an object as it is."""
        captured = self.world.captured
        if one in captured.rows:
            captured.commit({one: captured.rows[one]})
            self.world.targets[self.world.devices[0]].last_for_ever()
            self.touched.add(one)

    def meddle(self, device: str, one: ObjectId, fields: bytes) -> None:
        """Another program writes an object on a device that has it synchronized."""
        target, held = self.world.targets[device], self.held[device]
        if not held.state.epoch:
            return
        target.rows = {**target.rows, one: fields}
        target.last_for_ever()
        self.meddled[device].add(one)
        if device == self.world.devices[0]:
            self.world.captured.commit({one: fields})
            self.touched.add(one)
        held.rows, held.meddled, held.unseen = dict(target.rows), held.meddled | {one}, True

    def past(self) -> Past:
        return Past(self.last, list(self.groups))

    def store_restored(self, past: Past, head: int) -> None:
        """What the store published later is void: it will publish something else under the same numbers."""
        self.last, self.groups = past.last, list(past.groups)
        self.reads.clear()
        for held in self.held.values():
            held.traffic.came = [one._replace(read=min(one.read, head)) for one in held.traffic.came]

    def forget_after(self, epoch: str, head: int) -> None:
        """No device has what was published after the head, and the epoch goes on."""
        gone = [at for at in self.published if at[0] == epoch and at[1] > head]
        for at in gone:
            del self.published[at], self.digests[at]

    def target_restored(self, device: str, before: Held) -> None:
        """The application's data is an older copy of itself, with what was meddled with then."""
        target, held = self.world.targets[device], self.held[device]
        held.rows, held.state = dict(target.rows), target.state
        held.frozen = {one: held.rows.get(one) for one in held.parked}
        # Of groups of after it that are parked it may not be told what became of their objects since then.
        held.meddled, held.unseen = before.meddled | held.parked, before.unseen
        self.meddled[device] |= held.parked
        self._whole(device)

    def fell_back(self, device: str) -> None:
        self.met["R4 power"] += 1
        self.fallen.add(device)
        target, held = self.world.targets[device], self.held[device]
        held.rows, held.state = dict(target.rows), target.state
        held.frozen = {one: held.rows.get(one) for one in held.frozen}
        published = self.published.get((held.state.epoch, held.state.position), {})
        held.meddled = frozenset(one for one in self.meddled[device] if held.rows.get(one) != published.get(one))
        held.unseen = held.state.digest != rules.checksum(held.rows)
        self._whole(device)

    # ------------------------------------------------------------ after each step

    def look(self) -> None:
        primary = self.world.primary
        for device, held in self.held.items():
            target = self.world.targets[device]
            begun = [name for (owner, name), follow in primary.follows.items() if owner == device and follow.epoch]
            reported = [name for owner, name in primary.standings if owner == device]
            rules.r9_kept(begun, reported, self.world.mine(device))
            rules.r4_still(target.rows, target.state, held.rows, held.state)
            known = self.world.target(device)
            if known.match and known.state == target.state and not held.unseen:
                self.met["R14 identical"] += 1
                published = self.published.get((target.state.epoch, target.state.position))
                rules.r14_identical(target.rows, published, len(held.parked))

    # ------------------------------------------------------------ the primary's store

    def primary_ports(self) -> dict[str, Heard]:
        return {"keep": self._kept, "new_epoch": lambda args, result: self.publication()}

    def _kept(self, args: tuple[Any, ...], result: Any) -> None:
        self.publication()
        again = finish(self.world.store.keep(*args))
        rules.r6_once("keep", result, again)

    def publication(self) -> None:
        """What the store publishes, if it was not looked at before."""
        state = finish(self.world.store.open_collection(COLLECTION))
        if not state.published or not state.imported:
            return
        self.groups_of[state.epoch] = self.groups
        at = (state.epoch, state.head)
        if at in self.published:
            rules.r1_one_state(state.head, self.digests[at], state.digest)
            return
        self.met["R1"] += 1
        held, changes = contents(self.world.store)
        but = held_objects(self.world.store, COLLECTION)  # by the guard
        rules.r2_published(held, self.committed, but)
        first = self.last.state if self.last else 0
        index = next((i for i in range(first, len(self.committed)) if rules.alike(self.committed[i], held, but)), None)
        rules.r1_order(self.last, state.head, state.epoch, index)
        rules.r14_checksum(state.digest, state.objects, held)
        self.last = Publication(state.epoch, state.head, index or 0)
        self.published[at], self.digests[at] = held, state.digest
        before = self.groups[-1].seq if self.groups else 0
        if state.head > before:
            newest = finish(self.world.store.groups(COLLECTION, 1))[0]
            numbered = frozenset(one for one, change in changes.items() if change > before)
            self.groups.append(Group(state.head, newest.loose, numbered, frozenset(numbered - held.keys())))

    # ------------------------------------------------------------ a device's ports

    def auxiliary_ports(self, device: str) -> dict[str, Heard]:
        def changed(what: str) -> Heard:
            return lambda args, result: self._queue(device, what, args) if _collection(args) == COLLECTION else None

        return {
            "execute": lambda args, result: self._executed(device, args[0], result),
            "retry": lambda args, result: self._retried(device, args[0], result),
            "recount": lambda args, result: self._recounted(device),
            **{name: changed(name) for name in ("begin", "stage", "executed", "park", "retried", "clear")},
        }

    def _recounted(self, device: str) -> None:
        target, held = self.world.targets[device], self.held[device]
        held.state, held.unseen = target.state, False
        rules.r14_checksum(target.state.digest, target.state.objects, held.rows)

    def _executed(self, device: str, work: Work, result: Executed | Unexecuted) -> None:
        target, held = self.world.targets[device], self.held[device]
        before, was = held.rows, held.state
        rows = rows_of(work)
        if isinstance(result, Unexecuted):
            failing = [one for one, kind, _ in rows if one in target.failing and kind is not Kind.DELETE]
            held.failing = frozenset(failing) | {one for one, kind, _ in rows if kind is Kind.WITHHELD}
            self.met["R7 failed"] += 1
            rules.r7_nothing_done(before, target.rows, result.parts, held.failing)
            rules.r4_still(target.rows, target.state, before, was)
            return
        held.rows, held.state = dict(target.rows), target.state
        held.unseen = held.unseen and held.state == was
        if not held.unseen:
            rules.r14_checksum(held.state.digest, held.state.objects, held.rows)
        if (held.rows, held.state) != (before, was):
            self.met["R4"] += 1
            assert work.proof is not None
            rules.r4_position(was, held.state, work.proof, self.published)
            self._at_cut(device, work, was.position)
        again = finish(target.execute(work))
        rules.r6_once("execute", replace(result, durable=True), again)
        rules.r6_once("execute", (held.rows, held.state), (target.rows, target.state))
        self._echo(device)

    def _retried(self, device: str, works: Sequence[Work], tried: Tried) -> None:
        target, held = self.world.targets[device], self.held[device]
        before, held.rows, held.state = held.rows, dict(target.rows), target.state
        applied: dict[ObjectId, bytes | None] = {}
        for work, failure in zip(works, tried.failures, strict=True):
            if failure is None:
                rows = rows_of(work)
                applied |= {one: None if kind is Kind.DELETE else fields for one, kind, fields in rows}
        self.met["R7 retried"] += bool(applied)
        rules.r7_retried(before, held.rows, applied)
        held.frozen |= applied
        if not held.unseen:
            rules.r14_checksum(held.state.digest, held.state.objects, held.rows)
        rules.r6_once("retry", tried, finish(target.retry(works)))
        rules.r6_once("retry", (held.rows, held.state), (target.rows, target.state))
        self._echo(device)

    def _at_cut(self, device: str, work: Work, position: int) -> None:
        """A work was executed up to its cut."""
        held = self.held[device]
        published = self.published[held.state.epoch, held.state.position]
        brought = {row.id for row in rows_of(work)}
        held.meddled = frozenset() if work.snapshot else held.meddled - brought
        if work.snapshot:
            self.met["R5"] += 1
            held.frozen = {one: fields for one, fields in held.frozen.items() if one in held.parked}
            rules.r5_nothing_beyond(held.rows, published, held.frozen)
        self._whole(device)
        since = 0 if work.snapshot else position
        groups = [group for group in self.groups_of[work.epoch] if group.seq > since]
        if work.snapshot:
            brought, groups = brought & published.keys(), in_snapshot(groups)
        rules.r2_never_split(groups, held.state.position, brought, held.parked)

    def _whole(self, device: str) -> None:
        held = self.held[device]
        but: dict[ObjectId, bytes | None] = {**held.frozen, **dict.fromkeys(held.meddled)}
        rules.r7_parked_stays(held.rows, held.frozen)
        if not held.state.epoch:
            rules.r2_whole(held.rows, {}, {})
            assert held.state.digest == EMPTY
            return
        self.met["R2"] += 1
        rules.r4_not_ahead(held.rows, held.state, self.published, but)
        rules.r2_whole(held.rows, self.published[held.state.epoch, held.state.position], but)

    def _queue(self, device: str, name: str, args: tuple[Any, ...]) -> None:
        """A durable change of the inbound queue."""
        queue, held = self.world.queues[device], self.held[device]
        if name != "retried":  # it counts the attempts
            before = durable(queue)
            finish(getattr(queue, name)(*args))
            self.met["R6 queue"] += 1
            rules.r6_once(name, before, durable(queue))
        if name in ("stage", "executed"):
            return
        was, held.parked = held.parked, frozenset(parked(queue))
        if name == "park":
            self._parked(device, args[0], held.parked - was)
        if name == "begin" and was and not held.parked:
            self.met["R7 void"] += 1
            return  # what was parked keeps its fields until the snapshot, which brings all of it again, is executed
        gone = held.frozen.keys() if name == "clear" else was - held.parked
        if name == "clear" and device in self.fallen:  # what failed is forgotten until checksums tell (R14)
            held.meddled |= gone
            self.meddled[device] |= gone
        held.frozen = {one: fields for one, fields in held.frozen.items() if one not in gone}
        self._whole(device)

    def _parked(self, device: str, work: Work, fresh: frozenset[ObjectId]) -> None:
        held = self.held[device]
        self.met["R7 parked"] += 1
        since = min((frame.first for frame in work.frames()), default=0)
        until = work.proof.seq if work.proof else 0
        part_of = ties([group for group in self.groups_of[work.epoch] if group.seq <= until], since)
        skipped = work.skip(row.id for row in rows_of(work)) if work.skip else frozenset[ObjectId]()
        rules.r7_only_what_must(fresh, runs_of(work), held.failing | skipped, part_of)
        for one in fresh:
            held.frozen.setdefault(one, held.rows.get(one))

    def _echo(self, device: str) -> None:
        """The source of the first auxiliary's application is asked what changed there."""
        if device != self.world.devices[0]:
            return
        self.met["R12"] += 1
        captured = self.world.captured
        changes = finish(captured.changes(self._mark, 1000))
        self._mark = changes.mark
        rules.r12_echo([ObjectId(self._names[one.type], one.key) for one in changes.observed], self.touched)
        self.touched.clear()

    # ------------------------------------------------------------ messages

    def chunk(self, chunk: ev.ChunkRead) -> None:
        self.reads.setdefault(chunk.frame, finish(self.world.store.open_collection(COLLECTION)).head)

    def leaves(self, device: str, message: Message) -> None:
        mine = self.world.mine(device)
        self.met["R9 one"] += isinstance(message, Objects) and len(mine.collections) == 1
        self.met["R9 none"] += not mine.collections
        rules.r9_own(message, mine)

    def sent(self, sender: str, device: str, message: Message) -> None:
        if isinstance(message, Report):
            held_by = self.world.others if message.collection == OTHER else self.world.targets
            rules.r4_durable(message, held_by[device].durable)
        if getattr(message, "collection", "") == OTHER:
            return
        held, target = self.held[device], self.world.targets[device]
        if isinstance(message, Begin):
            self._begins(device, message)
        if isinstance(message, Report | Follow):
            transfer = finish(self.world.queues[device].load(COLLECTION))[0]
            self.met["R4 told"] += 1
            rules.r4_told(message, target.state, transfer.cursor if transfer else 0)
        if isinstance(message, Report):
            then = held.saying.then if held.saying and held.saying.message == message else held
            if message.match and not then.unseen:
                published = self.published.get((message.epoch, message.position))
                rules.r14_identical(then.rows, published, len(then.parked))
                rules.r14_checksum(message.digest, message.objects, then.rows)
            inbound = self.world.nodes[device].inbound
            if not any(isinstance(effect, BeginTransfer) for effect in inbound):
                rules.r7_reported(message, len(then.parked))

    def says(self, device: str, collection: str) -> None:
        message, held = self.world.target(device, collection).saying, self.held[device]
        if collection == COLLECTION and message is not None:
            held.saying = Saying(message, replace(held, saying=None))

    def repeated(self) -> None:
        self.met["R6 repeat"] += 1

    def asked(self, device: str, message: Message) -> None:
        if isinstance(message, Follow) and message.collection == COLLECTION:
            self.held[device].traffic.asked = message

    def _begins(self, device: str, answer: Begin) -> None:
        asked = self.held[device].traffic.asked
        assert asked is not None
        state = finish(self.world.store.open_collection(COLLECTION))
        self.met["R3 begin"] += 1
        rules.r4_other_epoch(asked, answer, state.epoch)
        rules.r5_begin(asked, answer, state)
        rules.r3_goes_on(asked, answer, state)

    def arrives(self, device: str, message: Message, frame: Frame) -> None:
        traffic = self.held[device].traffic
        if getattr(message, "collection", "") == OTHER:
            return
        if isinstance(message, Begin):
            traffic.begin(message)
        if not isinstance(message, Objects):
            return
        self.met["R3"] += 1
        read = self.reads[frame]
        rules.r3_changes_since(message, traffic.came, traffic.cursor, read, self.world.limits.chunk_rows_max)
        if traffic.snapshot:
            self.met["R5 frames"] += 1
            rules.r5_no_tombstones(message, traffic.floor)
        objects = frozenset(zip(message.types, message.keys, strict=True))
        traffic.came.append(Came(message.last, read, message.runs, objects))
        traffic.cursor = message.last
        if message.cut is not None:
            self.met["R14 cut"] += 1
            rules.r14_cut(message.cut, self.published.get((traffic.epoch, message.cut.seq)))
            traffic.cut()


def _collection(args: tuple[Any, ...]) -> str:
    """Which collection a call of an inbound queue is about: it begins with its name, a work, or frames of it."""
    first = args[0][0][0] if isinstance(args[0], list) else args[0]
    return first if isinstance(first, str) else str(first.collection)
