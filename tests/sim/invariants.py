"""The rules of DESIGN §4 that hold in every state of the world: R1-R7, R9, R12, R14, each a function of what was seen.

A function takes plain values and raises ``Broken``, whose message begins with the rule. It knows nothing of the world
and shares no code with the product that decides the same, the checksum included: ``watcher.py`` collects what they are
given, ``test_invariants.py`` shows that each fails where its rule is broken.

"Frozen" are the objects of parked groups, each with the fields that it must keep until its group is executed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from hashlib import blake2b

from syncd.core.effects import Effect, SaveReport, Send
from syncd.core.messages import Begin, Credit, Cut, Follow, Objects, Report, Types, Welcome
from syncd.core.messages import Wire as Message
from syncd.core.model import Kind, ObjectId, Proof
from syncd.core.ports import CollectionState, Part, TargetState
from tests.sim.history import Came, Group, Mine, Publication, Run, State

Frozen = Mapping[ObjectId, bytes | None]


class Broken(AssertionError):
    """A rule does not hold."""


def checksum(held: Mapping[ObjectId, bytes]) -> bytes:
    """PROTOCOL.md §8, written again."""
    total = 0
    for (name, key), fields in held.items():
        prefix = len(name.encode()).to_bytes(4, "big") + name.encode()
        total += int.from_bytes(blake2b(prefix + key + fields, digest_size=16).digest(), "big")
    return (total % (1 << 128)).to_bytes(16, "big")


# ---------------------------------------------------------------- what is published


def r1_order(last: Publication | None, seq: int, epoch: str, state: int | None) -> None:
    """Sequence numbers grow in an epoch, and what they number was never before what an earlier one numbered.

    ``state``: number of the first state of the application, from that of ``last`` on, that it is; None: there is none.
    """
    if last is None:
        return
    if epoch == last.epoch and seq <= last.seq:
        raise Broken(f"R1 order: {seq} is published after {last.seq}")
    if state is None:
        raise Broken(f"R1 order: {seq} is an older state of the application than {last.seq}, which came before it")


def r1_one_state(seq: int, before: bytes, digest: bytes) -> None:
    """A sequence number stands for one state. ``before``: checksum of what it stood for."""
    if before != digest:
        raise Broken(f"R1 order: {seq} stands for two states")


def alike(one: State, other: State, but: Collection[ObjectId]) -> bool:
    """Whether two states are the same, but for these objects."""
    return all(one.get(each) == other.get(each) for each in one.keys() | other.keys() if each not in but)


def r2_published(held: State, committed: Collection[State], but: Collection[ObjectId] = ()) -> None:
    """What is published is a state that the application had: no transaction of it is split. ``but``: what the guard
    holds stands as it was."""
    if held not in committed and not any(alike(held, one, but) for one in committed if but):
        raise Broken("R2 whole groups: what is published is no state that the application ever had")


# ---------------------------------------------------------------- what a device holds


def r2_whole(rows: State, published: State, frozen: Frozen) -> None:
    """A device holds the primary's state at its position, but for the objects of parked groups."""
    if rows == published:
        return
    for one in sorted(rows.keys() | published.keys()):
        if one not in frozen and rows.get(one) != published.get(one):
            raise Broken(f"R2 whole groups: {one} is {rows.get(one)!r}, published was {published.get(one)!r}")


def r2_never_split(
    groups: Iterable[Group], seq: int, brought: Collection[ObjectId], parked: Collection[ObjectId]
) -> None:
    """Of each group that a work brought, up to ``seq``, all objects are executed or all are parked.

    An object that a later import took over (a loose group) stands alone (R7).
    """
    alone: set[ObjectId] = set()
    for group in sorted((one for one in groups if one.seq <= seq), reverse=True):
        if group.loose:
            alone |= group.objects
            continue
        members = [one for one in group.objects if one in brought and one not in alone]
        waiting = sorted(one for one in members if one in parked)
        if waiting and len(waiting) < len(members):
            raise Broken(f"R2 whole groups: group {group.seq} is split: {waiting} are parked, others are not")


def r4_position(
    before: TargetState, state: TargetState, proof: Proof, published: Mapping[tuple[str, int], State]
) -> None:
    """A commit moves the position to its cut's, which the primary published, and not back."""
    if (state.epoch, state.position) not in published:
        raise Broken(f"R4 position: {state.position} of {state.epoch} was never published")
    if state.position != proof.seq:
        raise Broken(f"R4 position: it is {state.position} after a commit of what leads to {proof.seq}")
    if state.epoch == before.epoch and state.position < before.position:
        raise Broken(f"R4 position: it went back from {before.position} to {state.position}")


def r4_not_ahead(rows: State, state: TargetState, published: Mapping[tuple[str, int], State], frozen: Frozen) -> None:
    """The data are not those of an earlier position."""

    def plain(held: State) -> State:
        return {one: fields for one, fields in held.items() if one not in frozen}

    have = plain(rows)
    if have == plain(published[state.epoch, state.position]):
        return
    for (epoch, seq), held in published.items():
        if epoch == state.epoch and seq < state.position and plain(held) == have:
            raise Broken(f"R4 position: it is {state.position}, the data are those of {seq}")


def r4_told(told: Report | Follow, state: TargetState, durable: int) -> None:
    """A device claims no position that its data have not reached, and no frame that is not durable."""
    if isinstance(told, Report) and told.epoch not in ("", state.epoch):
        raise Broken(f"R4 position: Report claims epoch {told.epoch}, the data are of {state.epoch}")
    if told.epoch == state.epoch and told.position > state.position:
        raise Broken(f"R4 position: {type(told).__name__} claims {told.position}, the data are at {state.position}")
    if isinstance(told, Follow) and told.cursor > max(state.position, durable):
        raise Broken(f"R4 position: Follow claims frames up to {told.cursor}, those up to {durable} are durable")


def r4_durable(told: Report, durable: TargetState) -> None:
    """A device tells of no position that a power cut can take back. ``durable``: what it holds in any case."""
    if told.epoch == "" or (told.epoch == durable.epoch and told.position <= durable.position):
        return
    raise Broken(f"R4 position: {told.position} of {told.epoch} is told, durable is {durable.position}")


def r4_other_epoch(asked: Follow, answer: Begin, epoch: str) -> None:
    """A position of another epoch is answered with a snapshot."""
    if answer.epoch != epoch:
        raise Broken(f"R4 position: the answer is of {answer.epoch}, the store of {epoch}")
    if asked.epoch != epoch and not _fresh(answer):
        raise Broken(f"R4 position: {asked.position} of {asked.epoch!r} is taken for one of {epoch}")


def r4_still(rows: State, state: TargetState, seen: State, seen_state: TargetState) -> None:
    """Data and position move in commits only. ``seen``: after the last one."""
    if (rows, state.epoch, state.position) != (seen, seen_state.epoch, seen_state.position):
        raise Broken(f"R4 position: data or position {state.position} moved outside of a commit")


# ---------------------------------------------------------------- what is on the wire


def _fresh(begin: Begin) -> bool:
    return begin.snapshot and begin.cursor == begin.base == 0


def r3_goes_on(asked: Follow, answer: Begin, state: CollectionState) -> None:
    """Who can be sent changes is sent no snapshot, and what is staged is not sent again."""
    if asked.again or asked.epoch != state.epoch or asked.cursor < state.horizon:
        return
    if (answer.snapshot, answer.base, answer.floor, answer.cursor) != (
        asked.snapshot,
        asked.base,
        asked.floor,
        asked.cursor,
    ):
        raise Broken(f"R3 changes since: asked {asked}, answered {answer}")


def r3_changes_since(frame: Objects, came: Sequence[Came], cursor: int, read: int, rows_max: int) -> None:
    """Frames of a transfer continue each other, in sequence order and bounded chunks, and bring each object once: again
    only if it was changed after it was read. ``came``: the frames since the last cut; ``read``: the head of the store
    when the frame was read."""
    if frame.first != cursor or not cursor <= frame.last <= read:
        raise Broken(f"R3 changes since: a frame is ({frame.first}, {frame.last}] after {cursor}, the head is {read}")
    if len(frame) > rows_max:
        raise Broken(f"R3 changes since: a frame has {len(frame)} rows, {rows_max} are allowed")
    seqs = [one.seq for earlier in came for one in earlier.runs] + [run.seq for run in frame.runs]
    if seqs != sorted(seqs) or any(run.seq <= frame.first for run in frame.runs):
        raise Broken(f"R3 changes since: groups come as {seqs} in a frame after {frame.first}")
    objects = list(zip(frame.types, frame.keys, strict=True))
    if len(set(objects)) < len(objects):
        raise Broken("R3 changes since: a frame brings an object twice")
    at = 0
    for run in frame.runs:
        for one in objects[at : at + run.rows]:
            if any(one in earlier.objects and run.seq <= earlier.read for earlier in came):
                raise Broken(f"R3 changes since: {one} comes again and was not changed in between")
        at += run.rows


def r5_begin(asked: Follow, answer: Begin, state: CollectionState) -> None:
    """Who is older than the tombstones kept gets a snapshot; it begins with nothing, at the head."""
    if asked.epoch == state.epoch and asked.cursor < state.horizon and not _fresh(answer):
        raise Broken(f"R5 snapshot: changes since {asked.cursor}, tombstones up to {state.horizon} are forgotten")
    if _fresh(answer) and answer.floor != state.head:
        raise Broken(f"R5 snapshot: it leaves out tombstones up to {answer.floor}, the head is {state.head}")


def r5_no_tombstones(frame: Objects, floor: int) -> None:
    """A snapshot names nothing that was deleted before its beginning."""
    at = 0
    for run in frame.runs:
        if run.seq <= floor and Kind.DELETE in frame.kinds[at : at + run.rows]:
            raise Broken(f"R5 snapshot: it brings a tombstone of {run.seq}, it began at {floor}")
        at += run.rows


def r5_nothing_beyond(rows: State, published: State, frozen: Frozen) -> None:
    """At the cut of a snapshot nothing is left that it did not bring."""
    beyond = rows.keys() - published.keys() - frozen.keys()
    if beyond:
        raise Broken(f"R5 snapshot: {sorted(beyond)} are beyond it and left at its cut")


# ---------------------------------------------------------------- once more


def r6_once(what: str, before: object, after: object) -> None:
    """What is done again changes nothing. ``before``, ``after``: what it could change."""
    if before != after:
        raise Broken(f"R6 exactly once: {what} again changes {before} to {after}")


def r6_repeat(what: str, effects: Iterable[Effect]) -> None:
    """A message that comes again orders nothing but to say so."""
    for effect in effects:
        settled = isinstance(effect, Send) and isinstance(effect.message, Credit)
        if not settled and not isinstance(effect, SaveReport):
            raise Broken(f"R6 exactly once: {what} that came again orders {effect}")


# ---------------------------------------------------------------- failed groups


def r7_nothing_done(before: State, after: State, parts: Iterable[Part], failing: Collection[ObjectId]) -> None:
    """What failed is as before, and the guilty object is one that could not be executed."""
    if before != after:
        raise Broken("R7 failed groups: something of a work that failed was executed")
    for part in parts:
        if part.failure.guilty not in failing:
            raise Broken(f"R7 failed groups: {part.failure.guilty} is called guilty, failing are {sorted(failing)}")


def r7_parked_stays(rows: State, frozen: Frozen) -> None:
    """The objects of parked groups are as they were before their group failed."""
    for one, fields in frozen.items():
        if rows.get(one) != fields:
            raise Broken(f"R7 failed groups: {one} is parked and is {rows.get(one)!r}, before it was {fields!r}")


def r7_only_what_must(
    parked: Collection[ObjectId], runs: Sequence[Run], guilty: Collection[ObjectId], part_of: Callable[[int], int]
) -> None:
    """Only parts with a guilty object are parked, and those that share an object with one, directly or through others.

    ``runs``: of the work; ``guilty``: objects that could not be executed, and those that are parked already.
    ``part_of``: group -> its part (``history.ties``).
    """
    reached, before = set(guilty), -1
    reached_groups: set[int] = set()
    while before != len(reached) + len(reached_groups):
        before = len(reached) + len(reached_groups)
        for run in runs:
            if run.loose:
                continue
            part = part_of(run.seq)
            if part in reached_groups or not reached.isdisjoint(run.objects):
                reached_groups.add(part)
                reached.update(run.objects)
    too_many = set(parked) - reached
    if too_many:
        raise Broken(f"R7 failed groups: {sorted(too_many)} are parked and share nothing with {sorted(guilty)}")


def r7_retried(before: State, after: State, part: Frozen) -> None:
    """A parked part that is executed is executed whole, and nothing else."""
    expected: dict[ObjectId, bytes | None] = {**before, **part}
    if after != {one: fields for one, fields in expected.items() if fields is not None}:
        raise Broken("R7 failed groups: a parked part was not executed whole, or more than it")


def r7_reported(report: Report, parts: int) -> None:
    """While anything is parked the primary is told so."""
    if parts and not (report.parked and report.failed):
        raise Broken(f"R7 failed groups: {parts} parts are parked, the report names none")


# ---------------------------------------------------------------- users


def r9_own(message: Message, mine: Mine) -> None:
    """A device is told of nothing but what its users have: no collection, type, key, nor an epoch or position, which
    stand with their collection."""
    named = {getattr(message, "collection", "")} - {""}
    if isinstance(message, Welcome):
        named = set(message.collections)
        if mine.users and message.user != mine.users[0]:
            raise Broken(f"R9 users: a device of {mine.users} is welcomed as {message.user}'s")
    types = {one.name for one in message.types} if isinstance(message, Types) else set()
    keys = set(message.keys) if isinstance(message, Objects) else set()
    for what, foreign in (
        ("collections", named - mine.collections),
        ("types", types - mine.types),
        ("keys", keys - mine.keys),
    ):
        if foreign:
            raise Broken(f"R9 users: a device of {mine.users} is told of the {what} {sorted(foreign)!r}")


def r9_kept(followed: Iterable[str], reported: Iterable[str], mine: Mine) -> None:
    """Nothing that a device says of what it may not have is followed or kept. ``followed``: collections of which it was
    told where it begins; ``reported``: those whose report is known."""
    foreign = {*followed, *reported} - mine.collections
    if foreign:
        raise Broken(f"R9 users: a device of {mine.users} has a part in {sorted(foreign)}")


# ---------------------------------------------------------------- echo and proof


def r12_echo(reported: Collection[ObjectId], touched: Collection[ObjectId]) -> None:
    """What a source reports is what its application touched: all of it, and nothing that syncd wrote."""
    if set(reported) - set(touched):
        raise Broken(f"R12 echo: {sorted(set(reported) - set(touched))} were written by syncd and are reported")
    if set(touched) - set(reported):
        raise Broken(f"R12 echo: {sorted(set(touched) - set(reported))} were touched and are not reported")


def r14_checksum(digest: bytes, objects: int, held: State) -> None:
    """Each end's checksum is that of what it holds."""
    if (digest, objects) != (checksum(held), len(held)):
        raise Broken(f"R14 proof: the checksum of {len(held)} objects is {checksum(held).hex()}, not {digest.hex()}")


def r14_cut(cut: Cut, published: State | None) -> None:
    """A cut proves what was published at its sequence number."""
    if published is None:
        raise Broken(f"R14 proof: a cut is at {cut.seq}, which was never published")
    if (cut.digest, cut.objects) != (checksum(published), len(published)):
        raise Broken(f"R14 proof: the cut at {cut.seq} proves something else than what was published")


def r14_identical(rows: State, published: State | None, parked: int) -> None:
    """Identical is said only where it is true."""
    if published is None or rows != published or parked:
        raise Broken("R14 proof: identical is said and is not true")
