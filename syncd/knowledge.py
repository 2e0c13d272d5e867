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
        """Where all may stand that take this much of a collection. One that was cut off is sent a snapshot at most."""
        found: list[Span] = []
        for device in self.all():
            takes = self.may(device.id, collection) and self.sends(device.id, collection)
            if takes and not device.revoked_us and self.engine.selection_of(device.id, collection) == selection:
                found += self.engine.spans_of(device.id, collection)
        return Spans(found)

    def connected(self, device: str) -> bool:
        return self.engine.connected(device)

    async def reports(self) -> dict[tuple[str, str], Report]:
        """Those in the sync database are a little older, and reach further back."""
        kept = {(device, one.collection): one for device, one in await self.rooms.database.reports()}
        return kept | {at: standing.report for at, standing in self.engine.standings.items()}
