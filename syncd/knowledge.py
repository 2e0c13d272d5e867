"""What the primary knows of devices: who there is, what each is called, may have, and said last."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from syncd.admission import Admission
from syncd.core.devices import Device
from syncd.core.edits import Direction
from syncd.core.messages import Report
from syncd.core.model import Span, Spans
from syncd.core.primary_engine import PrimaryEngine
from syncd.core.selection import Selection
from syncd.rooms import Rooms


@dataclass(frozen=True, slots=True)
class Knowledge:
    """See ``holders.Devices``."""

    rooms: Rooms
    admission: Admission
    engine: PrimaryEngine

    def named(self, device: str) -> str:
        """What a device is called here; the primary itself and one that was forgotten are devices, too."""
        if device == self.rooms.identity.device_id:
            return self.rooms.config.name
        return self.admission.shown(device) if device in self.admission.devices else device[:8]

    def has_accepted(self, device: str, collection: str) -> bool:
        """As far as the device said."""
        return (device, collection) in self.engine.standings

    def all(self) -> Sequence[Device]:
        return self.admission.records()

    def find(self, asked: str) -> Device:
        return self.admission.find(asked)

    def may(self, device: str, collection: str) -> bool:
        return self.engine.may(device, collection)

    def sends(self, device: str, collection: str) -> bool:
        return self.engine.terms_of(collection, device)[0] is not Direction.IN

    def spans(self, collection: str, selection: Selection) -> Spans:
        """Where all may stand that take this much of a collection and may be told what is gone. One that was cut off is
        sent a snapshot, if anything; a chunk that is being read may be sent to the end."""
        found: list[Span] = []
        for device in self.all():
            takes = self.may(device.id, collection) and self.sends(device.id, collection)
            if takes and not device.revoked_us and self.engine.selection_of(device.id, collection) == selection:
                found += self._spans(device.id, collection)
        return Spans(found)

    def _spans(self, device: str, collection: str) -> list[Span]:
        engine, at = self.engine, (device, collection)
        state, standing, follow = engine.state_of(*at), engine.standings.get(at), engine.follows.get(at)
        if state is None:
            return []
        sent = engine.reaches.spans.get(at, {}).get(state.epoch)
        stands = standing is not None and standing.report.epoch == state.epoch
        if not stands and sent is None and follow is None:
            return []  # it never took anything of it, or is sent a snapshot when it comes
        first = standing.report.position if standing is not None and stands else 0
        last = first if sent is None else max(first, sent.last)
        is_read = follow is not None and (follow.reading or follow.asked is not None)
        return [Span(first, max(last, state.head) if is_read else last)]

    def connected(self, device: str) -> bool:
        return self.engine.connected(device)

    async def reports(self) -> dict[tuple[str, str], Report]:
        """Those in the sync database are a little older, and reach further back."""
        kept = {(device, one.collection): one for device, one in await self.rooms.database.reports()}
        return kept | {at: standing.report for at, standing in self.engine.standings.items()}
