"""Who is linked with the primary: greetings, names and adapters (claims 20b, 20c), and whose data a device may have.

R9 stands on ``may``: a collection belongs to one user, a device is linked with some. Whatever a device asks for that
it may not have is, in every answer and effect, like something that is not shared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from syncd.core.conversation import Phase, choose_version
from syncd.core.effects import CloseLink, Effect, SaveAdapter, SaveName, Send, UseAdapter
from syncd.core.engine import refuse
from syncd.core.errors import OrderError, Refused
from syncd.core.events import AdapterSaved, NameSaved
from syncd.core.frozen import replace
from syncd.core.messages import Hello, Welcome
from syncd.core.model import Role
from syncd.core.settings import Limits


@dataclass(frozen=True)  # no slots, for ``frozen.replace``
class Peer:
    """A linked device: the phase of its conversation, since when, and its greeting. ``adapter``: which it speaks, as
    the sync database says; empty until it is welcomed."""

    since: float
    phase: Phase = Phase.GREETING
    hello: Hello | None = None
    adapter: str = ""


class Reception:
    """``user``: the one whose collections name no other. ``adapters``: those that can be spoken. As the sync database
    says, by device: ``speaks``, which of them it does; ``bidden``, which it is to speak, where a person chose;
    ``names``, what it calls itself; ``users``, the users that it is linked with, in the order of linking. ``owners``:
    whose each collection is."""

    def __init__(self, name: str, user: str, adapters: Sequence[str], limits: Limits) -> None:
        self.name = name
        self.user = user
        self.adapters = tuple(adapters)
        self.limits = limits
        self.peers: dict[str, Peer] = {}
        self.speaks: dict[str, str] = {}
        self.bidden: dict[str, str] = {}
        self.names: dict[str, str] = {}
        self.users: dict[str, tuple[str, ...]] = {}
        self.owners: dict[str, str] = {}

    def may(self, device: str, collection: str) -> bool:
        """Whether the collection is shared, and is of a user that the device is linked with (R9)."""
        owner = self.owners.get(collection)
        return owner is not None and owner in self.users.get(device, ())

    def collections_of(self, device: str) -> tuple[str, ...]:
        """All that the device may have."""
        return tuple(name for name in sorted(self.owners) if self.may(device, name))

    def rename_user(self, old: str, new: str) -> None:
        """Nothing but the name changes: linked devices are told it with their next Welcome."""
        self.user = new if self.user == old else self.user
        self.owners = {name: new if owner == old else owner for name, owner in self.owners.items()}
        self.users = {
            device: tuple(new if user == old else user for user in users) for device, users in self.users.items()
        }

    def connected(self, device: str) -> bool:
        """Whether the device was welcomed and its link is open."""
        peer = self.peers.get(device)
        return peer is not None and bool(peer.adapter) and peer.phase is Phase.OPEN

    # ------------------------------------------------------------ adapters

    def bid(self, bidden: Mapping[str, str]) -> list[Effect]:
        """Which adapters a person chose for devices: one that is linked and speaks another comes again."""
        self.bidden = dict(bidden)
        effects: list[Effect] = []
        for device, peer in sorted(self.peers.items()):
            if (
                peer.phase is Phase.OPEN
                and peer.hello is not None
                and self._adapter_of(device, peer.hello) != (peer.adapter or peer.hello.adapter)
            ):
                self.peers[device] = replace(peer, phase=Phase.CLOSED)
                effects.append(CloseLink(device, "", "this device is to speak another adapter"))
        return effects

    def _adapter_of(self, device: str, hello: Hello) -> str:
        return self.bidden.get(device, hello.adapter)

    # ------------------------------------------------------------ greetings

    def greet(self, device: str, hello: Hello) -> list[Effect]:
        """A device is welcomed once the sync database says which adapter it speaks: that of its Hello, or another one
        that a person chose."""
        choose_version(hello.versions)
        if hello.role != Role.AUXILIARY:
            raise Refused(f"this device is a primary, and so is {hello.name}", code="role")
        if hello.adapter not in self.adapters:
            raise Refused(f"this device does not speak the adapter {hello.adapter!r}", code="adapter")
        self.peers[device] = replace(self.peers[device], hello=hello)
        effects: list[Effect] = [] if self.names.get(device) == hello.name else [SaveName(device, hello.name)]
        if self.speaks.get(device) != (adapter := self._adapter_of(device, hello)):
            return [*effects, SaveAdapter(device, adapter)]
        return effects + self._welcome(device, hello)

    def name_saved(self, saved: NameSaved) -> list[Effect]:
        self.names[saved.device] = saved.name
        return []

    def adapter_saved(self, saved: AdapterSaved) -> list[Effect]:
        device, peer = saved.device, self.peers.get(saved.device)
        if not saved.failure:
            self.speaks[device] = saved.adapter
        if peer is None or peer.hello is None or peer.adapter or peer.phase is Phase.CLOSED:
            return []
        if saved.failure:
            return [CloseLink(device, "disk", saved.failure)]
        adapter = self._adapter_of(device, peer.hello)  # a person may have chosen meanwhile
        return self._welcome(device, peer.hello) if adapter == saved.adapter else [SaveAdapter(device, adapter)]

    def _welcome(self, device: str, hello: Hello) -> list[Effect]:
        adapter = self._adapter_of(device, hello)
        self.peers[device] = replace(self.peers[device], adapter=adapter)
        user = next(iter(self.users.get(device, ())), self.user)
        names, window_bytes = self.collections_of(device), self.limits.window_bytes_max
        version = choose_version(hello.versions)
        welcome = Welcome(version, self.name, user, adapter, window_bytes, names)
        return [Send(device, welcome), UseAdapter(device, adapter)]

    def unheard(self, now: float) -> list[Effect]:
        """Whoever does not greet in time is refused."""
        effects: list[Effect] = []
        for device, peer in sorted(self.peers.items()):
            if peer.phase is Phase.GREETING and now - peer.since > self.limits.hello_s_max:
                self.peers[device] = replace(peer, phase=Phase.CLOSED)
                effects += refuse(device, OrderError(f"no Hello came for {self.limits.hello_s_max:g} s"))
        return effects
