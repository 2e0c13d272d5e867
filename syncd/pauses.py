"""`syncd pause` and `syncd resume` on the primary: the setting ``pause`` of a place, and of all places within it.

It works on the sync database alone, as all settings do.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

from syncd.choices import Choices
from syncd.core.preferences import TABLE, Chosen, Place
from syncd.core.status import Json
from syncd.known import Known

_PAUSE = TABLE["pause"].name
Verb = Callable[[Json], Awaitable[Json]]


class Pauses:
    """``verbs``: name -> what answers it."""

    def __init__(self, choices: Choices) -> None:
        self._choices = choices
        self.verbs: dict[str, Verb] = {"pause": self._pause, "resume": self._resume}

    async def _pause(self, args: Json) -> Json:
        """Nothing of a place travels until a person says so."""
        _, place, _ = await self._choices.named(args)
        return {"changed": await self._choices.keep([Chosen(place, _PAUSE, "on")])}

    async def _resume(self, args: Json) -> Json:
        """Each pause within the place ends; where one of a more general place would count, this place goes on."""
        known, place, at = await self._choices.named(args)
        chosen = await self._choices.load()
        ends = [
            Chosen(one, name, "")
            for (one, name), value in chosen.kept.items()
            if name == _PAUSE and value == "on" and self._is_within(known, one, place)
        ]
        others = {kept: value for kept, value in chosen.kept.items() if Chosen(*kept, "") not in ends}
        if replace(chosen, kept=others).value(_PAUSE, at) == "on":
            ends.append(Chosen(place, _PAUSE, "off"))
        return {"changed": await self._choices.keep(ends)}

    def _is_within(self, known: Known, one: Place, place: Place) -> bool:
        """Whether all of ``one`` lies within the other place."""
        if place.collection:
            return one.collection == place.collection and place.device in ("", one.device)
        if place.device:
            return one.device == place.device
        if one.collection:
            return place.user == self._choices.owner_of(known, one.collection)
        return place.user == one.user or (place.user, one.device) in known.links
