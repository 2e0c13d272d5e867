"""What the user of an auxiliary paused on it: `syncd pause` and `syncd resume` there.

It is kept in the sync database of its home, and holds whatever the primary says. It works on the sync database alone,
so that it can be asked with the daemon stopped as well.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from syncd.core.auxiliary_pace import OwnPause
from syncd.core.devices import SyncDatabase
from syncd.core.errors import UserError
from syncd.core.preferences import Changed, Chosen, Place
from syncd.core.status import Json

_EVERYTHING = Place()  # of this machine
_NAME = "pause"
VERBS = frozenset(("pause", "resume"))


async def load(database: SyncDatabase) -> OwnPause:
    return _of(await database.settings())


def _of(chosen: Sequence[Chosen]) -> OwnPause:
    found = {one.place.collection: one.value == "on" for one in chosen if one.name == _NAME}
    return OwnPause(found.pop("", False), found)


async def change(
    database: SyncDatabase, verb: str, args: Json, accepted: Collection[str], when_us: int
) -> tuple[OwnPause, Json]:
    """Keeps what a person asks for. ``accepted``: the collections that are taken here. Raises UserError."""
    collection = str(args.get("collection") or "")
    if args.get("device") or args.get("user"):
        raise UserError(
            "this device is an auxiliary, and pauses nothing but itself",
            "leave out --device and --user, or run it on the primary",
        )
    if collection and collection not in accepted:
        raise UserError(f"no collection {collection!r} is accepted here", "`syncd status` names those that are")
    before = await load(database)
    paused = verb == "pause"
    chosen = _asked(before, collection, paused)
    changed = await database.change_settings(chosen, "", when_us)
    after = await load(database)
    return after, {"changed": [_line(one) for one in changed]}


def _line(one: Changed) -> Json:
    return {
        "user": "",
        "device": "",
        "device_name": "",
        "collection": one.place.collection,
        "name": one.name,
        "before": one.before,
        "after": one.after,
    }


def _asked(before: OwnPause, collection: str, paused: bool) -> list[Chosen]:
    """What is to be kept. What is said of everything holds for each collection; of one, apart from everything."""
    if not collection:
        ends = [Chosen(Place(collection=name), _NAME, "") for name in before.named]
        return [Chosen(_EVERYTHING, _NAME, "on" if paused else ""), *ends]
    value = "" if before.everything is paused else "on" if paused else "off"
    return [Chosen(Place(collection=collection), _NAME, value)]
