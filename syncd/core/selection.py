"""Selection module (claim 24g): which data objects a device takes.

Devices with the same selection form a *selection class* and share its work (R8): what is read, built and encoded for
one is sent to all. The class is named by the canonical form of its selection.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Selection:
    """A selection class. The one selection there is takes all objects."""

    canonical: str = "all"

    def takes(self, type_name: str) -> bool:
        """Whether objects of the type are in the class."""
        return self.canonical == "all"


ALL = Selection()
