"""Selection module (claim 24g): which data objects a device takes.

Devices with the same selection form a *selection class* and share its work (R8): what is read, built and encoded for
one is sent to all. The class is named by the canonical form of its selection.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from syncd.core.model import DataType


@dataclass(frozen=True, slots=True, order=True)
class Selection:
    """A selection class. The one selection there is takes all objects."""

    canonical: str = "all"

    def takes(self, type_name: str) -> bool:
        """Whether objects of the type are in the class."""
        return self.canonical == "all"

    def of_types(self, types: Sequence[DataType]) -> tuple[DataType, ...]:
        """The types that a device of the class is told: what was never selected is never named (R8)."""
        return tuple(one for one in types if self.takes(one.name))


ALL = Selection()
