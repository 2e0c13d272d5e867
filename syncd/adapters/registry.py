"""Which adapters there are. The sync database says which device speaks which."""

from __future__ import annotations

from syncd.adapters.base import Adapter
from syncd.adapters.json_adapter import JsonAdapter
from syncd.adapters.msgpack_adapter import MsgpackAdapter
from syncd.core.errors import Refused, StoreBroken
from syncd.core.messages import Objects, Upload, Wire

DEFAULT = MsgpackAdapter.name
ADAPTERS: dict[str, Adapter] = {MsgpackAdapter.name: MsgpackAdapter(), JsonAdapter.name: JsonAdapter()}


def adapter(name: str) -> Adapter:
    """The adapter of that name. Raises Refused."""
    try:
        return ADAPTERS[name]
    except KeyError:
        raise Refused(f"there is no adapter {name!r}", code="adapter") from None


def restore(kept: bytes) -> Objects:
    """A frame of Objects that was decoded before and kept as it came (a text as UTF-8), whichever adapter it is of.

    Raises StoreBroken: what was kept is not what was decoded.
    """
    message = _restored(kept)
    if not isinstance(message, Objects):
        raise StoreBroken("a frame in the inbound queue holds no objects")
    return message


def restore_upload(kept: bytes) -> Upload:
    """The same for a frame of edits."""
    message = _restored(kept)
    if not isinstance(message, Upload):
        raise StoreBroken("a frame in the inbound queue holds no edits")
    return message


def _restored(kept: bytes) -> Wire:
    name = JsonAdapter.name if kept[:1] == b"{" else MsgpackAdapter.name
    try:
        return ADAPTERS[name].restore(kept)
    except Exception as error:  # the codecs raise many classes on damaged bytes
        raise StoreBroken(f"a frame in the inbound queue is damaged: {type(error).__name__}") from error
