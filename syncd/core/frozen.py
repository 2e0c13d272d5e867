"""Frozen values with many fields, of which a step of a state machine changes a few."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__all__ = ("replace",)

if TYPE_CHECKING:
    from dataclasses import replace
else:
    import dataclasses

    def replace(one: Any, /, **changes: Any) -> Any:
        """``dataclasses.replace``, which asks for each field by name and costs most of a step where there are forty.
        Where a value has a ``__dict__`` that is copied: it must be a dataclass without ``__post_init__``."""
        held = getattr(one, "__dict__", None)
        if held is None:
            return dataclasses.replace(one, **changes)
        if not held.keys() >= changes.keys():
            raise TypeError(f"{type(one).__name__} has no {', '.join(sorted(changes.keys() - held.keys()))}")
        made = object.__new__(type(one))
        values = made.__dict__
        values.update(held)
        values.update(changes)
        return made
