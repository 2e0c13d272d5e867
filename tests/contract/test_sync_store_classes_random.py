"""What a device of a class holds is the filter applied to the primary's state at its position: for random objects,
expressions, edits, groups of many batches, fillings between commits, and stores opened again (R2-R5, R8, R14)."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from syncd.adapters.canonical import pack_values
from syncd.core import digest
from syncd.core.holding import Batch
from syncd.core.model import DataType, Kind, Observed, Proof
from syncd.core.ports import ChunkRequest, CollectionState, StoredChunk, SyncStore
from syncd.core.query_builder import build
from syncd.core.selection import Selection
from syncd.core.settings import Limits
from syncd.store.memory import MemorySyncStore
from syncd.store.sync_store import SqliteSyncStore
from tests.contract.sync_store_kit import BYTES_MAX, NAME

Fields = tuple[str | int | None, ...]
Thing = tuple[str, int]  # type and key
NARROW = (DataType(0, "item", ("id",), ("country", "total")), DataType(0, "note", ("id",), ("total",)))
WIDE = (DataType(0, "item", ("id",), ("country", "total", "extra")), NARROW[1])
KEYS, COUNTRIES, TOTALS = range(5), ("FR", "DE", None), (0, 5, None)


@dataclass(frozen=True)
class Wanted:
    """A selection and what it means. ``kept``: names of fields that it leaves in."""

    selection: Selection
    takes: Callable[[str, int, dict[str, object]], bool]
    kept: Callable[[str], bool] = lambda name: True


def _leaf(source: str, means: Callable[[str, int, dict[str, object]], bool]) -> tuple[str, Callable[..., bool]]:
    return source, means


leaves = st.sampled_from(
    [
        _leaf('country == "FR"', lambda type_, key, has: has.get("country") == "FR"),
        _leaf('country != "FR"', lambda type_, key, has: has.get("country") == "DE"),
        _leaf("total >= 5", lambda type_, key, has: has["total"] == 5),
        _leaf("total is None", lambda type_, key, has: has["total"] is None),
        _leaf("country is None", lambda type_, key, has: has.get("country") is None),
        _leaf("id < 3", lambda type_, key, has: key < 3),
        _leaf('type == "note"', lambda type_, key, has: type_ == "note"),
    ]
)


def _joined(word: str, parts: list[tuple[str, Callable[..., bool]]]) -> tuple[str, Callable[..., bool]]:
    every = all if word == "and" else any
    return (
        f" {word} ".join(f"({source})" for source, _ in parts),
        lambda *object_: every(means(*object_) for _, means in parts),
    )


expressions = st.recursive(
    leaves, lambda inner: st.builds(_joined, st.sampled_from(["and", "or"]), st.lists(inner, min_size=2, max_size=3))
)
wanted = st.one_of(
    expressions.map(lambda one: Wanted(Selection(one[0]), one[1])),
    expressions.map(
        lambda one: Wanted(Selection(one[0], without=("item.total",)), one[1], lambda name: name != "item.total")
    ),
    st.just(Wanted(Selection(tables=("note",)), lambda type_, key, has: type_ == "note")),
    st.just(Wanted(Selection(keys=("item/1", "note/")), lambda type_, key, has: type_ == "note" or key == 1)),
)
edits = st.dictionaries(
    st.tuples(st.sampled_from(["item", "note"]), st.sampled_from(KEYS)),
    st.one_of(st.none(), st.tuples(st.sampled_from(COUNTRIES), st.sampled_from(TOTALS))),
    max_size=4,
)
few = st.integers(1, 4)
step = st.one_of(
    st.tuples(st.just("edit"), edits, st.booleans()),
    st.tuples(st.just("edit"), edits, st.just(True)),
    st.tuples(st.just("open"), st.integers(0, 1), few),
    st.tuples(st.just("drop"), st.integers(0, 1), few),
    st.tuples(st.just("prune"), st.integers(0, 2), few),
    st.tuples(st.just("take"), st.integers(0, 3), few),
    st.tuples(st.just("take"), st.integers(0, 3), st.just(100)),
    st.tuples(st.just("device"), st.integers(0, 1), few),
    st.tuples(st.just("fail"), edits, st.booleans()),
    st.tuples(st.just("reshape"), few, few),
    st.tuples(st.just("reopen"), few, few),
)


PRELUDE: list[tuple[str, object, object]] = [  # both classes have a device from the beginning
    ("edit", {("item", key): (COUNTRIES[key % 3], TOTALS[key % 2]) for key in KEYS[:4]}, True),
    ("edit", {("note", key): (None, TOTALS[key % 3]) for key in KEYS[:3]}, True),
    *((name, of, 9) for of in (0, 1) for name in ("open", "device")),
    ("take", 0, 9),
    ("take", 1, 2),
]


@dataclass
class Device:
    """A device of one of the classes, as far as it has come."""

    of: int
    epoch: str
    base: int = 0
    floor: int = 0
    cursor: int = 0
    objects: dict[Thing, bytes] = field(default_factory=dict)


@dataclass
class World:
    """The application, both stores, and devices of the two classes. ``published``: the state at the head.
    ``ever``: what was in a class at a published state, by the epoch of the class, and the number of the last."""

    wanted: list[Wanted]
    real: SqliteSyncStore
    twin: MemorySyncStore
    path: Path
    now: dict[Thing, Fields] = field(default_factory=dict)
    published: dict[Thing, Fields] = field(default_factory=dict)
    types: tuple[DataType, ...] = NARROW
    ids: dict[str, int] = field(default_factory=dict)
    devices: list[Device] = field(default_factory=list)
    ever: dict[str, dict[Thing, int]] = field(default_factory=dict)
    time_us: int = 0

    @property
    def stores(self) -> tuple[SyncStore, SyncStore]:
        return self.real, self.twin

    async def begin(self) -> None:
        for store in self.stores:
            await store.open_collection(NAME)
        await self.set_types(NARROW)

    async def set_types(self, types: tuple[DataType, ...]) -> None:
        self.types = types
        for store in self.stores:
            self.ids = {one.name: one.id for one in await store.set_source(NAME, "source", types)}

    def fields(self, thing: Thing, values: tuple[str | None, int | None]) -> Fields:
        country, total = values
        if thing[0] == "note":
            return (total,)
        return (country, total) if self.types is NARROW else (country, total, "more")

    def filtered(self, of: int, things: dict[Thing, Fields]) -> dict[Thing, bytes]:
        one, names = self.wanted[of], {type_.name: type_.fields for type_ in self.types}
        taken = {}
        for (type_, key), fields in things.items():
            has: dict[str, object] = dict(zip(names[type_], fields, strict=True))
            if one.takes(type_, key, has):
                left = [value for name, value in has.items() if one.kept(f"{type_}.{name}")]
                taken[type_, key] = pack_values(left)  # type: ignore[arg-type]
        return taken

    async def keep(self, observed: list[Observed], publish: bool, end_scan: bool = False) -> None:
        self.time_us += 1
        for store in self.stores:
            await store.keep(NAME, Batch(observed, publish, False, end_scan=end_scan), self.time_us)
        if publish:
            self.published = dict(self.now)

    def observed(self, thing: Thing, fields: Fields | None) -> Observed:
        type_, key = thing
        return Observed(self.ids[type_], pack_values([key]), None if fields is None else pack_values(fields))

    async def edit(self, edited: dict[Thing, tuple[str | None, int | None] | None], publish: bool) -> None:
        changes = {thing: None if one is None else self.fields(thing, one) for thing, one in edited.items()}
        for thing, fields in changes.items():
            self.now.pop(thing, None)
            if fields is not None:
                self.now[thing] = fields
        await self.keep([self.observed(*one) for one in changes.items()], publish)

    async def fail(self, edited: dict[Thing, object], _: bool) -> None:
        """Some cannot be read, and then can be."""
        failed = [self.observed(thing, ())._replace(fields=b"", fault="not read") for thing in edited]
        await self.keep(failed, False)
        again = [self.observed(thing, self.now.get(thing)) for thing in edited]
        await self.keep(again, False)

    async def open(self, of: int, rows_max: int) -> None:
        for store in self.stores:
            await store.open_class(NAME, self.wanted[of].selection, rows_max)

    async def drop(self, of: int, _: int) -> None:
        for store in self.stores:
            await store.drop_class(NAME, self.wanted[of].selection)

    async def prune(self, of: int, back: int) -> None:
        head = (await self.twin.open_collection(NAME)).head
        for store in self.stores:
            if of == 2:
                await store.prune(NAME, max(0, head - back), 0)
            else:
                await store.prune_class(NAME, self.wanted[of].selection, max(0, head - back), 0)

    async def reshape(self, *_: int) -> None:
        """The table gets another column or loses it; then all of it is compared."""
        await self.set_types(WIDE if self.types is NARROW else NARROW)
        more = () if self.types is NARROW else ("more",)
        for state in (self.now, self.published):
            state |= {thing: (*fields[:2], *more) for thing, fields in state.items() if thing[0] == "item"}
        for store in self.stores:
            await store.begin_scan(NAME)
        await self.keep([self.observed(*one) for one in self.now.items()], False)
        await self.keep([], True, end_scan=True)

    async def reopen(self, *_: int) -> None:
        await self.real.close()
        self.real = await SqliteSyncStore.open(self.path, Limits())
        self.twin.crash()

    async def device(self, of: int, _: int) -> None:
        seen = (await self.twin.open_collection(NAME)).of(self.wanted[of].selection)
        if seen is not None:
            self.devices.insert(0, Device(of, seen.epoch, floor=seen.head))
            del self.devices[4:]

    async def take(self, at: int, rows_max: int) -> None:
        if at >= len(self.devices):
            return
        device = self.devices[at]
        seen = (await self.twin.open_collection(NAME)).of(self.wanted[device.of].selection)
        if seen is None:
            return
        if seen.epoch != device.epoch or max(device.base, device.floor) < seen.horizon:
            device = self.devices[at] = Device(device.of, seen.epoch, floor=seen.head)
        request = ChunkRequest(NAME, self.wanted[device.of].selection, device.base, device.floor, device.cursor)
        chunk, other = [await store.read(request, rows_max, BYTES_MAX) for store in self.stores]
        assert (list(chunk.rows), chunk.last, chunk.groups) == (list(other.rows), other.last, other.groups)
        assert (chunk.proof, chunk.horizon) == (other.proof, other.horizon)
        self.apply(device, request, chunk)

    def apply(self, device: Device, request: ChunkRequest, chunk: StoredChunk) -> None:
        selection = self.wanted[device.of].selection
        names = {number: name for name, number in self.ids.items()}
        names |= {selection.told_id(number): name for number, name in names.items()}
        things = {(name, pack_values([key])): (name, key) for name in self.ids for key in KEYS}
        for message in build(request, chunk).messages():
            thing = things[names[message.type], message.key]
            assert thing in self.ever[device.epoch], "a device heard of what was never in its class"
            if message.kind is Kind.DELETE:
                stood = max(device.base, device.floor)
                assert self.ever[device.epoch][thing] >= stood, "a device heard of what it cannot hold"
                device.objects.pop(thing, None)
            else:
                device.objects[thing] = message.fields
        device.cursor = chunk.last
        if chunk.proof is not None:
            assert device.objects == self.filtered(device.of, self.published)
            assert chunk.proof == self.proof(chunk.last, device.objects)
            device.base, device.floor = chunk.last, 0

    def proof(self, seq: int, held: dict[Thing, bytes]) -> Proof:
        hashes = [
            digest.object_hash(digest.type_prefix(type_), pack_values([key]), fields)
            for (type_, key), fields in held.items()
        ]
        return Proof(seq, digest.of(hashes), len(held))

    async def check(self) -> None:
        real, twin = [await store.open_collection(NAME) for store in self.stores]
        assert _plain(real) == _plain(twin)
        assert (real.objects, twin.classes and True) == (len(self.now), twin.classes and True)
        for of, one in enumerate(self.wanted):
            if (seen := twin.of(one.selection)) is not None:
                held = self.filtered(of, self.now)
                assert Proof(0, seen.digest, seen.objects) == self.proof(0, held)
                taken = dict.fromkeys(self.filtered(of, self.published), twin.head)
                self.ever.setdefault(seen.epoch, {}).update(taken)
                assert seen.head <= twin.head


def _plain(state: CollectionState) -> list[object]:
    classes = [one._replace(epoch=one.epoch.split(".")[1]) for one in state.classes]
    return [state.head, state.digest, state.objects, state.published, *classes]


async def arrives(world: World, at: int) -> None:
    """A device is sent what it lacks, unless its class is not ready."""
    snapshots = 0
    while world.devices[at].base < (await world.twin.open_collection(NAME)).head:
        before, cursor = world.devices[at], world.devices[at].cursor
        await world.take(at, 2)
        snapshots += world.devices[at] is not before
        assert snapshots <= 1, "a snapshot comes to its end"
        if world.devices[at] is before and before.cursor == cursor:
            break


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(wanted, min_size=2, max_size=2, unique_by=lambda one: one.selection),
    st.lists(step, min_size=25, max_size=40),
)
def test_a_device_of_a_class_holds_what_its_selection_takes(
    wanted: list[Wanted], steps: list[tuple[str, object, object]]
) -> None:
    async def play() -> None:
        async with AsyncExitStack() as stack:
            path = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "store.db"
            world = World(wanted, await SqliteSyncStore.open(path, Limits()), MemorySyncStore(), path)
            stack.push_async_callback(lambda: world.real.close())  # noqa: PLW0108, another one after reopening
            await world.begin()
            for name, *given_ in [*PRELUDE, *steps, ("edit", {}, True)]:
                await getattr(world, name)(*given_)
                await world.check()
            for at in range(len(world.devices)):
                await arrives(world, at)

    asyncio.run(play())
