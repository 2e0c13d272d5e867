"""Watches a world in which all change (``edits_world.py``), and holds what it sees against the rules of
``edits_rules.py``.

``met`` counts what was looked at, so that a test can tell a rule that held from one that was never asked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from syncd.core.edits import LocalChanges, Ruling, Side, Written
from syncd.core.messages import Objects, Report, Upload, Verdict
from syncd.core.messages import Wire as Message
from syncd.core.model import ObjectId
from syncd.core.ports import Executed, Work
from tests.sim import edits_rules as rules
from tests.sim import invariants
from tests.sim.contents import contents, parked
from tests.sim.daemon import held_objects
from tests.sim.edits_rules import Commit, Decided, Name
from tests.sim.edits_world import EditsWorld, Watching
from tests.sim.history import Publication, State
from tests.sim.network import Heard, finish
from tests.two_way_kit import NAME


@dataclass
class Own:
    """What the watcher knows of a device. ``commits``: its application's; ``but``: objects of parked groups, until it
    is proven that they are as all others; ``doubt``: its log is lost or its data an older copy, until a snapshot came;
    ``excused``: versions of it may have come twice. ``offered``: how often all that it holds was, or will be, offered;
    ``forgiven``: so many of its commits are not asked for in the end, because a later offer took their place."""

    commits: list[Commit] = field(default_factory=list)
    touched: set[ObjectId] = field(default_factory=set)
    but: set[ObjectId] = field(default_factory=set)
    doubt: bool = False
    excused: bool = False
    offered: int = 0
    forgiven: int = 0


class EditsWatcher(Watching):
    def __init__(self, world: EditsWorld) -> None:
        self.world = world
        world.observer = self
        self.met: Counter[str] = Counter()
        self.states: list[State] = []
        self.last: Publication | None = None
        self.published: dict[tuple[str, int], State] = {}
        self.digests: dict[tuple[str, int], bytes] = {}
        self.own = {device: Own() for device in world.devices}
        self.executed: set[Name] = set()
        self.of_edits: dict[Name, Decided] = {}
        self.lost: list[tuple[int, tuple[Side, ...]]] = []  # by conflict
        self.made: Counter[bytes] = Counter()
        self.ever: set[bytes] = set()
        self.rows: Counter[str] = Counter()
        self.edits: Counter[str] = Counter()
        self.committed()

    # ------------------------------------------------------------ what applications do

    def committed(self) -> None:
        rows = dict(self.world.source.rows)
        self.states.append(rows)
        self.ever.update(rows.values())

    def commit(self, changes: Mapping[ObjectId, bytes | None]) -> None:
        """The primary's application."""
        self.world.source.commit(changes)
        self.committed()

    def edit(self, device: str, changes: Mapping[ObjectId, bytes | None]) -> None:
        """A device's application."""
        target, own = self.world.targets[device], self.own[device]
        before = {one: target.rows.get(one) for one in changes}
        target.commit(changes)
        own.commits.append(
            Commit({one: (before[one], fields) for one, fields in changes.items() if fields != before[one]})
        )
        own.touched.update(changes)
        self.made.update(fields for fields in changes.values() if fields is not None)

    def shaken(self, device: str) -> None:
        """What was edited there is not known any more, or is known of another time."""
        own = self.own[device]
        own.doubt = own.excused = True
        own.offered += 1
        if own.offered + (device in self.world.merge) > 1:
            own.forgiven = len(own.commits)

    def restored(self, device: str, commits: Sequence[Commit]) -> None:
        """Its data is what it was after these."""
        self.shaken(device)
        self.own[device].commits = list(commits)
        self.own[device].forgiven = len(commits)

    def source_restored(self, executed: set[Name]) -> None:
        self.executed = set(executed)
        self.committed()
        for own in self.own.values():
            own.excused = True

    def store_restored(self) -> None:
        """It is another epoch's; what it holds was published before, so that its next state may be any after that."""
        self.last = None
        for own in self.own.values():
            own.excused = True
        self.publication()

    # ------------------------------------------------------------ the primary

    def port(self, device: str, name: str) -> dict[str, Heard]:
        if name == "store":
            return {
                "keep": lambda args, result: self.publication(),
                "new_epoch": lambda args, result: self.publication(),
            }
        if name == "uploads":
            return {"settle": lambda args, result: self._settled(args[1], result)}
        if name == "outbox":
            return {"settle": lambda args, result: self._verdicts(device, args[1])}
        if name == "target":
            return {
                "execute": lambda args, result: self._executed(device, args[0], result),
                "changes": lambda args, result: self._told(device, result),
            }
        return {}

    def publication(self) -> None:
        """What the store publishes, if it was not looked at before."""
        state = finish(self.world.store.open_collection(NAME))
        if not state.published or not state.imported:
            return
        at = (state.epoch, state.head)
        if at in self.published:
            invariants.r1_one_state(state.head, self.digests[at], state.digest)
            return
        self.met["R1"] += 1
        held, _ = contents(self.world.store, NAME)
        but = held_objects(self.world.store, NAME)  # by the guard
        invariants.r2_published(held, self.states, but)
        first = self.last.state if self.last else 0
        index = next((i for i in range(first, len(self.states)) if invariants.alike(self.states[i], held, but)), None)
        invariants.r1_order(self.last, state.head, state.epoch, index)
        invariants.r14_checksum(state.digest, state.objects, held)
        self.last = Publication(state.epoch, state.head, index or 0)
        self.published[at], self.digests[at] = held, state.digest

    def decided(self, seen: Decided) -> None:
        group = seen.group
        name = (group.device, group.outbox, group.number)
        rules.r6_decided_once(name, self.executed)
        rules.r6_written_whole(seen)
        rules.r11_decided(seen)
        self.executed.add(name)
        self.ever.update(seen.after.values())
        self.of_edits[name] = seen
        self.met["R6 decided"] += 1
        self.met[f"R11 {seen.policy} {seen.written.ruling}"] += bool(seen.written.sides)
        self.met["R7 refused"] += seen.written.ruling is Ruling.REFUSED and not seen.written.sides

    def _settled(self, written: Sequence[Written], told: Mapping[str, tuple[Verdict, ...]]) -> None:
        """What was in conflict is kept from the moment that the device is told."""
        verdicts = {(device, one.number): one for device, those in told.items() for one in those}
        for one in written:
            verdict = verdicts.get((one.device, one.number))
            if one.sides and verdict is not None and any(side.contested for side in one.sides):
                self.lost.append((verdict.conflict, one.sides))
                self._kept(verdict.conflict, one.sides)

    def _kept(self, id_: int, sides: tuple[Side, ...]) -> None:
        self.met["R11 kept"] += 1
        conflict = finish(self.world.uploads.conflict(id_))
        rules.r11_kept(sides, conflict.sides if conflict else ())

    # ------------------------------------------------------------ the devices

    def _verdicts(self, device: str, verdicts: Sequence[Verdict]) -> None:
        outbox = self.world.outboxes[device]
        identity = finish(outbox.load(NAME)).outbox
        for verdict in verdicts:
            seen = self.of_edits.get((device, identity, verdict.number))
            if verdict.ruling == Ruling.REFUSED and seen is not None:
                self.met["R11 readable"] += 1
                # What was offered and is the primary's was settled at once.
                edits = [edit for edit in seen.group.edits if not (seen.group.offered and edit.fields in self.ever)]
                rules.r11_refused_kept(edits, finish(outbox.edits(NAME, verdict.number)))

    def _executed(self, device: str, work: Work, result: Any) -> None:
        if not isinstance(result, Executed) or not work.snapshot:
            return
        own, target = self.own[device], self.world.targets[device]
        own.but.clear()
        if target.rows == self.published.get((target.state.epoch, target.state.position)):
            own.doubt = False  # else it found that this was executed before

    def _told(self, device: str, changes: LocalChanges) -> None:
        self.met["R12 captured"] += bool(changes.edits)
        names = vars(self.world.targets[device])["_types"]
        told = {ObjectId(names[edit.type].name, edit.key) for edit in changes.edits}
        rules.r12_captured(told, self.own[device].touched)

    def look(self) -> None:
        """After each step."""
        for device in self.world.devices:
            try:
                self._look(device)
            except invariants.Broken as broken:
                raise invariants.Broken(f"{broken} on {device[0]}") from None

    def _look(self, device: str) -> None:
        target, own = self.world.targets[device], self.own[device]
        box = vars(self.world.outboxes[device])["_boxes"].get(NAME)
        own.but |= parked(self.world.queues[device], NAME)
        if not target.state.epoch or own.doubt or box is None:
            return
        if box.prepared is not None and box.prepared.id <= target.state.plan:
            return  # it was carried out, and the outbox is not told yet
        self.met["R2"] += 1
        published = self.published[target.state.epoch, target.state.position]
        standing = {one: box.top(one) for one in box.standing()}
        unread = {one.object: target.rows.get(one.object) for one in vars(target)["_log"] if one.number > box.mark}
        rules.r2_shown(target.rows, published, standing | unread, own.but)
        at = (target.state.epoch, target.state.position)
        sent = [{}, *(state for one, state in self.published.items() if one[0] == at[0] and one[1] < at[1]), published]
        rules.r2_edits_whole(target.rows, sent, own.commits, own.but)
        if not own.but:
            invariants.r14_checksum(target.state.digest, target.state.objects, published)

    def fell_back(self, device: str) -> None:
        self.met["R4 power"] += 1

    # ------------------------------------------------------------ messages

    def sent(self, sender: str, device: str, message: Message) -> None:
        if isinstance(message, Report):
            invariants.r4_durable(message, self.world.powered[device].durable)

    def leaves(self, device: str, message: Message) -> None:
        if isinstance(message, Objects):
            self.rows[device] += len(message)

    def asked(self, device: str, message: Message) -> None:
        if isinstance(message, Upload):
            self.edits[device] += len(message)

    # ------------------------------------------------------------ the end

    def at_rest(self) -> bool:
        """Nothing waits, and each device is proven identical."""
        proven = all(self.world.target(device).match for device in self.world.devices)
        return proven and self.downloaded() and not any(self.waiting().values())

    def downloaded(self) -> bool:
        """Each device has all that the primary published, which is all."""
        state = finish(self.world.store.open_collection(NAME))
        at_head = all(self.position(device) == (state.head, True) for device in self.world.devices)
        return at_head and state.published and contents(self.world.store, NAME)[0] == self.world.source.rows

    def position(self, device: str) -> tuple[int, bool]:
        """Where it is, and whether that is proven; failed groups beneath edits wait for these."""
        target = self.world.target(device)
        return target.state.position if target.state else 0, target.match or target.parked.parts > 0

    def undecided(self) -> dict[str, int]:
        """Groups of each device that wait for their verdict."""
        boxes = {device: vars(self.world.outboxes[device])["_boxes"].get(NAME) for device in self.world.devices}
        return {device: len(box.waiting) if box else 0 for device, box in boxes.items()}

    def waiting(self) -> dict[str, int]:
        """How much of each kind is still to be done."""
        world = self.world
        waits = {
            "in the upload queue": len(finish(world.uploads.next(NAME, 0, 1000))[1]),
            "to be published": len(world.primary.intakes[NAME].written),
        }
        for device in world.devices:
            pending = finish(world.outboxes[device].load(NAME)).pending
            waits[f"in {device[0]}'s outbox"] = 0 if device in world.keep_edits else pending
            waits[f"unknown on {device[0]}"] = int(world.uplink(device).lost)
        return waits

    def end(self) -> None:
        """The faults are over and nothing is left to do."""
        world = self.world
        shown: dict[str, State] = {}
        for device in world.devices:
            rows = dict(world.targets[device].rows)
            if device in world.keep_edits:
                box = vars(world.outboxes[device])["_boxes"][NAME]
                for one in box.standing():
                    rows.pop(one, None)
                    if box.bases[one] is not None:
                        rows[one] = box.bases[one]
            shown[device] = rows
        rules.r14_end(world.source.rows, shown, self.waiting())
        for id_, sides in self.lost:
            self._kept(id_, sides)
        self._accounted()
        self._made_once()

    def _accounted(self) -> None:
        theirs = {(side.object, side.theirs) for _, sides in self.lost for side in sides}
        for device in self.world.devices:
            refused = {
                (ObjectId(self._names()[edit.type], edit.key), edit.fields)
                for group in self.world.refused(device)
                for edit in finish(self.world.outboxes[device].edits(NAME, group.number))
            }
            if device in self.world.keep_edits:  # what the primary wrote over waits there for ever
                box = vars(self.world.outboxes[device])["_boxes"][NAME]
                refused |= {(one, edit.fields) for group in box.groups for one, edit in group.edits.items()}
            rows = self.world.targets[device].rows

            def found(one: ObjectId, fields: bytes, refused: Any = refused, rows: State = rows) -> bool:
                at = (one, fields)
                return fields in self.ever or at in theirs or at in refused or rows.get(one) == fields

            rules.r11_accounted(self._unreplaced(device), found)

    def _unreplaced(self, device: str) -> list[tuple[ObjectId, bytes]]:
        """Versions that the application made and did not itself replace."""
        made: dict[tuple[ObjectId, bytes], None] = {}
        for commit in self.own[device].commits[self.own[device].forgiven :]:
            for one, (before, fields) in commit.changes.items():
                if before is not None:
                    made.pop((one, before), None)
                if fields is not None:
                    made[one, fields] = None
        self.met["R11 accounted"] += len(made)
        return list(made)

    def _names(self) -> dict[int, str]:
        return {one.id: one.name for one in finish(self.world.store.open_collection(NAME)).types}

    def _made_once(self) -> None:
        if any(own.excused for own in self.own.values()):
            return
        versions: dict[ObjectId, list[bytes | None]] = {}
        for number, name in self._names().items():
            keys = {one.key for state in self.states for one in state if one.type == name}
            for key in keys:
                those = finish(self.world.store.history(NAME, number, key, 1000))
                versions[ObjectId(name, key)] = [
                    one.fields for one in those if one.author in self.own and one.fields in self.made
                ]
        self.met["R6 once"] += 1
        rules.r6_made_once(versions, self.made)
