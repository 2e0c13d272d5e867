"""Builds what answers a primary's verbs about objects: past, conflicts, what is held, previews, who holds what."""

from __future__ import annotations

import asyncio

from syncd.choices import Choices
from syncd.core.ports import SyncStore
from syncd.core.upward_ports import UploadQueue
from syncd.decisions import Grounds
from syncd.deeds import Deeds
from syncd.disputes import Disputes
from syncd.holders import Holders
from syncd.holds import Holds
from syncd.knowledge import Knowledge
from syncd.past import Past
from syncd.people import People, Verb
from syncd.previews import Previews
from syncd.rooms import Rooms
from syncd.whereabouts import Sight


def deeds_of(rooms: Rooms, store: SyncStore, uploads: UploadQueue, changed: asyncio.Event) -> Deeds:
    """How all of them are carried out. ``changed``: set whenever anything was."""
    ports = rooms.ports
    return Deeds(
        store=store,
        uploads=uploads,
        writers=ports.writers,
        sources=ports.sources,
        device=rooms.identity.device_id,
        wall_us=ports.wall_us,
        changed=changed,
    )


def deed_verbs(deeds: Deeds, rooms: Rooms, knowledge: Knowledge, choices: Choices, people: People) -> dict[str, Verb]:
    """Name -> what answers it."""
    engine, ports, limits = knowledge.engine, rooms.ports, rooms.limits

    def collections() -> list[str]:
        return list(engine.sources)

    past, holds = Past(deeds, knowledge.named, limits), Holds(deeds, choices, collections, ports.releasing, limits)
    grounds = Grounds(deeds, choices, people, holds, ports.alone, limits)
    sight = Sight(deeds.store, engine.reaches, limits.history_versions_max)
    return {
        **past.verbs,
        **holds.verbs,
        **Disputes(deeds, knowledge.named).verbs,
        **Previews(grounds, knowledge.named, knowledge.has_accepted).verbs,
        **Holders(past, sight, knowledge, collections).verbs,
    }
