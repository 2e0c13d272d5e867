"""Two-way synchronization against a plain model: hypothesis chooses what happens, and makes what fails small.

The model is a dict: the primary's application, to which the groups that it accepted were applied in their order. What
every machine holds in the end is that, and each edit is in it, in the history, in a conflict, or readable where it was
refused.
"""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from syncd.core.edits import Direction, Policy, Ruling
from syncd.core.model import ObjectId
from tests.sim.edits_rules import Decided
from tests.sim.edits_watcher import EditsWatcher
from tests.sim.edits_world import EditsWorld
from tests.sim.network import PRIMARY, finish
from tests.two_way_kit import NAME, A, B, note, text

MACHINES = (PRIMARY, A, B)
machines, devices = st.sampled_from(MACHINES), st.sampled_from((A, B))
# Which objects are changed together, and whether each is deleted.
edits = st.dictionaries(st.integers(0, 3), st.booleans(), min_size=1, max_size=3)


class Model(EditsWatcher):
    """Beside the rules: the primary's rows, as its own transactions and the groups that were not refused make them."""

    def __init__(self, world: EditsWorld) -> None:
        self.model: dict[ObjectId, bytes] = {}
        super().__init__(world)

    def apply(self, changes: Mapping[ObjectId, bytes | None]) -> None:
        for one, fields in changes.items():
            if fields is None:
                self.model.pop(one, None)
            else:
                self.model[one] = fields

    def decided(self, seen: Decided) -> None:
        super().decided(seen)
        if seen.written.ruling is Ruling.REFUSED:
            return
        result = {seen.id_of(edit): edit.fields for edit in seen.group.edits}
        for side in seen.written.sides:
            result[side.object] = side.result
            if side.copy:
                result[ObjectId(side.object.type, side.copy)] = side.theirs
        self.apply(result)


class TwoWay(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.versions = 0

    @initialize(seed=st.integers(0, 1000), policy=st.sampled_from(list(Policy)))
    def begin(self, seed: int, policy: Policy) -> None:
        self.world = EditsWorld(seed, [A, B], Direction.BOTH, policy)
        self.model = Model(self.world)
        self.world.begin(A, B)
        for _ in range(2):
            self.world.round()

    @rule(machine=machines, which=edits, field=st.integers(0, 1))
    def edit(self, machine: str, which: dict[int, bool], field: int) -> None:
        self.versions += 1
        fresh = f"v{self.versions}"
        version = text(fresh, "") if field else text("", fresh)
        changes = {note(number): None if gone else version for number, gone in which.items()}
        if machine == PRIMARY:
            self.model.commit(changes)
            self.model.apply(changes)
        else:
            self.model.edit(machine, changes)

    @rule(steps=st.integers(1, 30))
    def deliver(self, steps: int) -> None:
        for device in self.world.devices:
            self.world.connect(device)
        self.world.wake()
        for _ in range(steps):
            self.world.work()
            self.model.look()

    @rule(device=devices)
    def cut(self, device: str) -> None:
        self.world.cut(device)

    @rule(machine=machines)
    def crash(self, machine: str) -> None:
        self.world.crash(machine)

    @rule(fuse=st.integers(0, 4), machine=machines)
    def crash_within(self, fuse: int, machine: str) -> None:
        self.world.work(fuse, machine)

    @rule(policy=st.sampled_from(list(Policy)))
    def choose(self, policy: Policy) -> None:
        self.world.set_policy(policy)

    @precondition(lambda self: self.world.primary.sources[NAME].ready)
    @rule(back=st.integers(0, 3))
    def undo(self, back: int) -> None:
        groups = finish(self.world.store.groups(NAME, back + 1))
        if groups:
            self.world.undo(groups[-1].seq)

    @precondition(lambda self: finish(self.world.uploads.conflicts(NAME, False)))
    @rule(take=st.sampled_from(("ours", "theirs")))
    def resolve(self, take: str) -> None:
        conflict = finish(self.world.uploads.conflicts(NAME, False))[0]
        self.world.resolve(conflict.id, take)

    @rule(device=devices)
    def retire(self, device: str) -> None:
        """Its daemon is off for a while; or on again."""
        (self.world.switch_on if device in self.world.off else self.world.switch_off)(device)

    @invariant()
    def the_primary_is_as_the_model(self) -> None:
        if hasattr(self, "model"):
            assert self.world.source.rows == self.model.model

    def teardown(self) -> None:
        if not hasattr(self, "model"):
            return
        for device in self.world.devices:
            self.world.switch_on(device)
        for _ in range(60):
            self.world.round()
            self.model.look()
            if self.model.at_rest():
                break
        self.model.end()
        assert self.world.all_hold(self.model.model)


TwoWay.TestCase.settings = settings(
    max_examples=40,
    stateful_step_count=30,
    derandomize=True,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
TestTwoWay = pytest.mark.slow(TwoWay.TestCase)
