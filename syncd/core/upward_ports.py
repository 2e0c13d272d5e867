"""What the core asks of the edges for changes that come from auxiliaries; see ``core.ports`` for the others.

*Durable* is as there. The outbox and what is local of a target are an auxiliary's, the upload queue and the writer a
primary's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from syncd.core.edits import (
    Conflict,
    Edit,
    EditGroup,
    Fact,
    LocalBatch,
    LocalChanges,
    OutboxState,
    Overlay,
    Plan,
    Policy,
    RefusedGroup,
    Written,
)
from syncd.core.messages import Upload, Verdict
from syncd.core.model import DataType
from syncd.core.ports import TargetState, Work


class Local(Protocol):
    """The changes that the application makes to a target, a part of it. Raises ApplicationOffline, EditsUnread."""

    async def describe(self, types: Mapping[int, DataType], alone: bool = False) -> bool:
        """The primary's types by id, for ``offer`` before any work was executed: until then it gives nothing. Those
        that a work brought are kept, and count, unless these are ``alone``: no work comes. Whether what is there is
        read by others, until it is offered anew."""
        ...

    async def changes(self, mark: int, limit: int, wait_s: float | None = None) -> LocalChanges:
        """Edits after the mark (0: the beginning), in one short read transaction. Nothing while no types are known. An
        object that is as its base is left out where the page is all there is since a drained one.

        ``wait_s``: it waits for so long until the application may have changed something, and the mark may be an
        earlier one than that of the outbox when it reads. Then it puts nothing right: what cannot be read as it is is
        not drained, and neither told nor lost."""
        ...

    async def discard(self, mark: int) -> None:
        """What was logged up to the mark is in the outbox and may be forgotten."""
        ...

    async def offer(
        self, after: tuple[object, ...] | None, limit: int
    ) -> tuple[LocalChanges, tuple[object, ...] | None]:
        """A page of all objects that the application holds, as edits without base, and where the next page begins
        (None: that was the last). With the first page logging begins, so that nothing falls between: ``mark`` of it."""
        ...

    async def restore(self, plan: Plan) -> TargetState:
        """One transaction: what the plan puts back, and its id. Raises EditsUnread. Raises ApplicationOffline, and
        nothing is done, where other edits that stand yet are in the way (a unique value, a foreign key): tried again
        later, when they are settled too."""
        ...


class Outbox(Protocol):
    """Groups of edits on an auxiliary, from the application's log until they are settled (R6, R7, R10, R11)."""

    async def load(self, collection: str) -> OutboxState: ...

    async def types(self, collection: str, types: Sequence[DataType]) -> None:
        """Durable. Adds to the types known (by id); edits come with their ids. Called whenever types are described,
        before ``keep``."""
        ...

    async def known_types(self, collection: str) -> Sequence[DataType]:
        """All that were ever described, by which edits are read; how they are declared is not kept."""
        ...

    async def keep(self, collection: str, batch: LocalBatch) -> OutboxState:
        """Durable, one commit. Edits join the open group; of an object that is in it the base stays and the fields are
        the newer. A group that closes joins all groups that are not sealed and share an object with it, into the
        oldest of them; an object that is as its base leaves it, an empty group is none. A group with a fault or over a
        limit is refused. What is offered ends the open group; it never stands in the application (a snapshot follows).
        After an execution with a plan, ``carried_out`` comes before the next ``keep``."""
        ...

    async def keep_and_take(
        self, collection: str, batch: LocalBatch, after: int, bytes_max: int
    ) -> tuple[OutboxState, tuple[Upload, ...]]:
        """Durable, one commit: ``keep``, then ``take``."""
        ...

    async def take(self, collection: str, after: int, bytes_max: int) -> tuple[Upload, ...]:
        """Durable. The next groups after number ``after`` that wait for a verdict, whole, as frames of about
        ``Limits.frame_bytes``: those that fit into ``bytes_max``, one at least (of ``edit_group_bytes_max``). They are
        sealed, and all before them. Numbers may have gaps. ``clock_us`` is 0, for the caller to set. Empty: there are
        none."""
        ...

    async def settle(self, collection: str, verdicts: Sequence[Verdict], position: int, now_us: int) -> OutboxState:
        """Durable. Verdicts of the primary's, or of this device's own. A refused group stays readable for
        ``refused_s_max``. A group that was accepted or merged leaves once the target holds it; where the target is past
        its sequence number and does not, it is put back (``OutboxState.undo``). ``position``: of the target; ``EVER``:
        nothing is sent to it, groups leave with their verdict and what was made stays."""
        ...

    async def renumber(self, collection: str, after: int) -> OutboxState:
        """Durable. The primary knows groups up to ``after`` that this outbox never had (it is an older copy): it gets
        another identity, and what waits other numbers."""
        ...

    async def plan(self, collection: str, work: Work | None) -> Plan:
        """Durable. What executing the work does about edits that are not settled; None: what was refused is put back.

        An object of the work that is as one of the versions made here has it as its base from then on, and what was
        made above it stays. Where the primary's version is another, all groups that hold the object, and those joined
        with them by a shared object, are put back; they keep waiting for their verdicts. A snapshot puts back all;
        what was offered and is as in it is settled. Objects that the work skips are left out. Raises EditsUnread where
        it would put back a group that is still open: its changes are read first. A plan takes the place of one that
        was not carried out."""
        ...

    async def carried_out(self, collection: str, state: TargetState) -> OutboxState:
        """Durable. What the target holds: a plan up to ``state.plan`` was carried out, a later one never will be.
        Groups accepted up to its position leave."""
        ...

    async def touches(self, collection: str, work: Work) -> bool:
        """Whether the work names an object above whose primary's version an edit stands; those it skips left out."""
        ...

    async def overlay(self, collection: str) -> Overlay: ...

    async def refused(self, collection: str) -> Sequence[RefusedGroup]:
        """Newest first."""
        ...

    async def edits(self, collection: str, number: int) -> Sequence[Edit]:
        """The edits of a refused group, empty if there is none of this number."""
        ...

    async def forget(self, collection: str, number: int) -> None:
        """Durable. A refused group needs no keeping any more."""
        ...

    async def clear(self, collection: str) -> None:
        """Durable. Forgets everything of the collection: its target begins anew."""
        ...


class Writer(Protocol):
    """The primary's application, written by the engine (claims 24e, 24k). Raises ApplicationOffline, DiskFull."""

    def describe(self, source: str, types: Sequence[DataType]) -> None:
        """Identity of the data that was shared and its types with the ids that the store gave (``CollectionState``):
        before the first write, and whenever the source was opened. A group with an edit of another type is refused."""
        ...

    async def write(
        self, groups: Sequence[EditGroup], policy: Policy | None, facts: Mapping[tuple[int, bytes], Fact]
    ) -> Sequence[Written]:
        """Durable, one transaction; each group whole or not at all, in order, decided by ``core.conflict`` against what
        the application holds then. What is written is captured like any change, with its author. A group that was
        written before (by device, outbox and number) is not written again: what became of it is told again.
        ``policy`` None: of each group just the objects that are as their bases are written, the others are told as
        contested (undo, resolve). ``facts``: by type and key; an object whose version is not that of its fact has
        changed just now."""
        ...

    async def settled(self, groups: Sequence[tuple[str, str, int]]) -> None:
        """What became of these (device, outbox, number) is durable elsewhere and may be forgotten, at the next
        write."""
        ...

    async def close(self) -> None: ...


class UploadQueue(Protocol):
    """The primary's inbound queue (claim 24k): groups of edits received and not yet settled, verdicts, conflicts."""

    async def stage(self, device: str, uploads: Sequence[tuple[Upload, bytes]], now_us: int) -> int:
        """Durable, one commit. Frames of one device and collection with their bytes as they came. Returns the number up
        to which all groups of that outbox are there, whole; frames that came before are passed over (R6). ``now_us``
        minus ``Upload.clock_us`` is how far the clocks differ. The first frame of another outbox ends the former one:
        its whole groups, which were said to be taken, are executed and settled as usual; a half one goes. A half
        group that comes again from its beginning replaces what is there of it."""
        ...

    async def received(self, device: str, collection: str, outbox: str) -> int:
        """The number up to which groups of this outbox are there, whole, or were; 0 if none ever."""
        ...

    async def next(self, collection: str, after: int, groups_max: int) -> tuple[int, tuple[EditGroup, ...]]:
        """Whole groups that are not settled, in order of their arrival after the cursor, some of them (bounded in
        bytes as well), and the cursor after them."""
        ...

    async def settle(
        self, collection: str, written: Sequence[Written], seq: int, policy: str, now_us: int
    ) -> Mapping[str, tuple[Verdict, ...]]:
        """Durable, one commit: verdicts (by device), conflicts with all their versions, and frames that are no longer
        needed go. A group whose number is above all that were staged of its outbox was executed without that: with it
        all up to it count as received. ``seq``: of the group that came of them. Returns a device's verdicts for its
        newest outbox among the groups only: numbers of another one mean nothing."""
        ...

    async def verdicts(
        self, device: str, collection: str, outbox: str, first: int, after: int = 0
    ) -> tuple[Verdict, ...]:
        """Verdicts of groups from number ``first`` on; earlier ones are known there and forgotten. Of those only the
        ones above ``after``, at most ``Limits.verdicts_read_max``."""
        ...

    async def waiting_bytes(self, device: str, collection: str) -> int:
        """About the bytes of all that is there of the device and not settled."""
        ...

    async def conflicts(self, collection: str, resolved: bool) -> Sequence[Conflict]:
        """Newest first, without those a person has resolved unless ``resolved``; empty ``collection``: of all. Without
        their sides."""
        ...

    async def conflict(self, id: int) -> Conflict | None: ...

    async def resolve(self, id: int, how: str) -> None:
        """Durable. What a person did about it."""
        ...

    async def unresolved(self) -> Mapping[str, int]:
        """How many conflicts of each collection nobody has resolved."""
        ...

    async def prune(self, collection: str, older_than_us: int) -> int:
        """Forgets conflicts of the collection from before. Returns how many."""
        ...

    async def drop(self, device: str) -> None:
        """Durable. What waits of a device that was cut off goes: it is missing from here on, and nothing that comes
        after it is kept until it comes again. What became of its other groups stays."""
        ...
