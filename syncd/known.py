"""Users and devices at a moment, and how places of settings, changes of them and what is held are told to people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from syncd.core.devices import Device, unknown_user
from syncd.core.loss import HeldSettings
from syncd.core.preferences import Changed, Place, Scope, Setting, Step
from syncd.core.status import Json
from syncd.rooms import iso_time
from syncd.settings_guard import words

LOSSES_MAX = 1_000  # that are named of a change that is held


@dataclass(frozen=True, slots=True)
class Known:
    """Users and devices at a moment: ids and names, and which device is linked with whom."""

    users: Mapping[str, int]
    devices: Sequence[Device]
    links: frozenset[tuple[int, str]]

    def user(self, name: str) -> int:
        if name not in self.users:
            raise unknown_user(name)
        return self.users[name]

    def user_name(self, user: int) -> str:
        return next((name for name, id_ in self.users.items() if id_ == user), "")

    def device_name(self, device: str) -> str:
        return next((one.shown for one in self.devices if one.id == device), "")

    def words(self, place: Place) -> str:
        """The place, for people."""
        device = self.device_name(place.device) or place.device
        match place.scope:
            case Scope.USER:
                return f"user {self.user_name(place.user)}"
            case Scope.DEVICE:
                return f"device {device}"
            case Scope.COLLECTION:
                return f"collection {place.collection}"
            case Scope.ON_DEVICE:
                return f"collection {place.collection} on {device}"

    def line(self, place: Place) -> Json:
        return {
            "user": self.user_name(place.user),
            "device": place.device,
            "device_name": self.device_name(place.device),
            "collection": place.collection,
        }


def held_reason(known: Known, held: HeldSettings) -> str:
    said = words(held.losses, lambda device: known.device_name(device) or device[:8])
    return f"{held.id} is held, and nothing is changed: {said}"


def held_advice(id_: str) -> str:
    return f"`syncd approve {id_}` makes the change, `syncd reject {id_}` forgets it"


def held_line(known: Known, held: HeldSettings) -> Json:
    return {
        "group": held.id,
        "since": iso_time(held.since_us),
        "who": held.who,
        "changes": [known.line(one.place) | {"name": one.name, "value": one.value} for one in held.chosen],
        "losses": [
            {
                "device": one.device,
                "device_name": known.device_name(one.device),
                "collection": one.collection,
                "objects": one.objects,
                "of": one.of,
            }
            for one in held.losses[:LOSSES_MAX]
        ],
        "reason": f"{held_reason(known, held)}: {held_advice(held.id)}",
    }


def change_line(known: Known, change: Changed) -> Json:
    return known.line(change.place) | {"name": change.name, "before": change.before, "after": change.after}


def step_words(known: Known, step: Step) -> str:
    """Where a value comes from, for people."""
    return "usual" if step.place is None else known.words(step.place)


def chain_line(known: Known, one: Setting, step: Step, counts: bool) -> Json:
    """A place that may decide."""
    value = "" if step.value is None else one.kind.show(step.value)
    return {"from": step_words(known, step), "value": value, "counts": counts}


def setting_line(known: Known, one: Setting, decides: Step) -> Json:
    """A setting and the value that counts."""
    assert decides.value is not None
    return {
        "name": one.name,
        "value": one.kind.show(decides.value),
        "from": step_words(known, decides),
        "allowed": one.kind.allowed,
        "scopes": [scope.value for scope in Scope if scope in one.scopes],
        "help": one.help,
    }
