"""What a selection takes of a collection, as far as it was asked lately (R8): so that a class which is opened after
somebody asked what would leave a device need not ask each object a second time.

By change: once it is published, a change stands for one version of one object, for as long as the types are the same.
Held with the ``class_choice.Choice`` of these types; told by the reader's thread, asked by the writer's.
"""

from __future__ import annotations

from collections.abc import Sequence

_BLOCK = 4_096  # changes that are kept together
_BLOCKS_MAX = 1_024  # a byte each: 4 MiB of one selection; answers beyond are forgotten at once
_UNKNOWN, _LEFT, _TAKEN = range(3)


class Answered:
    def __init__(self) -> None:
        self._blocks: dict[int, bytearray] = {}

    def note(self, changes: Sequence[int], taken: Sequence[bool]) -> None:
        blocks = self._blocks
        for change, one in zip(changes, taken, strict=True):
            number, at = divmod(change, _BLOCK)
            block = blocks.get(number)
            if block is None:
                if len(blocks) >= _BLOCKS_MAX:
                    return
                block = blocks[number] = bytearray(_BLOCK)
            block[at] = _TAKEN if one else _LEFT

    def of(self, changes: Sequence[int]) -> list[bool] | None:
        """None: one of them was not asked."""
        nothing, blocks = bytes(_BLOCK), self._blocks
        found = [blocks.get(change // _BLOCK, nothing)[change % _BLOCK] for change in changes]
        return None if _UNKNOWN in found else [one == _TAKEN for one in found]

    def __bool__(self) -> bool:
        return bool(self._blocks)

    def forget(self) -> None:
        self._blocks = {}
