"""A primary that is told what happens: its application, its store, and the devices that are linked."""

from __future__ import annotations

from dataclasses import replace

from syncd.core.effects import Effect, SaveAdapter, Send
from syncd.core.events import AdapterSaved, Event, LinkUp, Received, SourceOpened, SourceRead
from syncd.core.messages import Follow, Hello, Report, Wire
from syncd.core.model import Role
from syncd.core.ports import CollectionState, SourceState
from syncd.core.primary_engine import PrimaryEngine
from tests.core.kit import EPOCH, LIMITS, NAME, digest_at, of_kind, store_state

A, B, C = "A" * 52, "B" * 52, "C" * 52
OTHER = "others"


class Play:
    """A primary that is told what happens; by default its collection was imported and has this head."""

    def __init__(self, head: int | None = 20) -> None:
        self.now = 100.0
        self.engine = PrimaryEngine("desk", "ada", ("msgpack", "json"), LIMITS)
        self.engine.speaks = dict.fromkeys((A, B, C), "msgpack")
        self.engine.names = dict.fromkeys((A, B, C), "laptop")
        self.engine.users = dict.fromkeys((A, B, C), ("ada",))
        self.first = self.engine.share(NAME)
        if head is not None:
            self.store(store_state(head))

    def hears(self, *events: Event) -> list[Effect]:
        """What the last of the events makes it order."""
        effects: list[Effect] = []
        for event in events:
            effects = self.engine.step(event, self.now)
        return effects

    def store(self, state: CollectionState, name: str = NAME) -> list[Effect]:
        """The source was opened and read: the store holds this."""
        opened = SourceOpened(name, SourceState("the application", (), ()), state, False)
        return self.hears(opened) + self.hears(SourceRead(name, state, False, False, False))

    def grows(self, head: int, **changes: object) -> list[Effect]:
        """The application committed something and it was kept."""
        return self.hears(SourceRead(NAME, store_state(head, **changes), False, False, False))  # type: ignore[arg-type]

    def says(self, device: str, *messages: Wire) -> list[Effect]:
        effects: list[Effect] = []
        for message in messages:
            effects = self.hears(Received(device, message, b""))
        return effects

    def greets(self, device: str, adapter: str = "msgpack") -> list[Effect]:
        """The sync database takes note of another adapter than it knows."""
        effects = self.hears(LinkUp(device), Received(device, hello(adapter), b""))
        if of_kind(effects, SaveAdapter):
            effects = self.hears(AdapterSaved(device, adapter))
        return effects

    def follows(self, device: str, position: int = 10, **changes: object) -> list[Effect]:
        """Greets and asks for the changes after a position."""
        adapter = str(changes.pop("adapter", "msgpack"))
        self.greets(device, adapter)
        return self.says(device, asked(position, **changes))


def hello(adapter: str = "msgpack", *, role: str = Role.AUXILIARY, versions: tuple[int, ...] = (1,)) -> Hello:
    return Hello(versions, role, "laptop", adapter)


def asked(position: int, **changes: object) -> Follow:
    plain = Follow(NAME, EPOCH, position, False, position, 0, position)
    return replace(plain, **changes)  # type: ignore[arg-type]


def sent_to(device: str, effects: list[Effect]) -> list[Wire]:
    return [one.message for one in of_kind(effects, Send) if one.device == device]


def reported(position: int, *, collection: str = NAME) -> Report:
    return Report(collection, EPOCH, position, digest_at(position), position, True, 0, "")
