"""An intake that is told what happens, and short names for what devices send and what comes of it."""

from __future__ import annotations

from dataclasses import replace

from syncd.core import intake as intakes
from syncd.core.edits import Policy, Ruling, Side, Written
from syncd.core.effects import Effect
from syncd.core.events import Event, Tick
from syncd.core.intake_state import Frame, Ground, Intake
from syncd.core.messages import Made, Offer, Upload, Verdict
from syncd.core.model import ObjectId
from syncd.core.upward_effects import WriteUploads
from syncd.core.upward_events import UploadStaged, UploadsWritten, VerdictsRead
from tests.core.kit import LIMITS, NAME, store_state
from tests.core.primary_play import A, B

DEVICES = frozenset((A, B))
POLICY = Policy.PRIMARY
WRITE = WriteUploads(NAME, 0, frozenset(), POLICY, DEVICES)


def upload(number: int = 1, outbox: str = "box", whole: bool = True) -> Upload:
    return Upload(NAME, outbox, 0, (Made(number, 0, 1, whole, False),), b"\x02", [1], [b"k"], [b"b"], [b"f"])


def written(number: int, mark: int, device: str = A, size: int = 0) -> Written:
    sides = (Side(ObjectId("city", b"k"), None, None, b"." * size, None, True),) if size else ()
    return Written(device, "box", number, Ruling.ACCEPTED, mark, sides=sides)


def verdict(number: int) -> Verdict:
    return Verdict(number, Ruling.ACCEPTED, 20, "", "", b"", 0)


def staged(number: int, device: str = A, size: int = 20) -> UploadStaged:
    return UploadStaged(device, NAME, "box", number, size)


def empty() -> UploadsWritten:
    return UploadsWritten(NAME, 0, ())


class Play:
    """An intake that is told what happens; its source was read up to ``mark`` and that is published."""

    def __init__(self, mark: int | None = 0, **limits: float) -> None:
        self.now = 100.0
        few = {"verdicts_max": 2, "unsettled_bytes_max": 100, "upload_bytes_max": 50, "written_max": 3}
        few |= {"upload_window_bytes_max": 80}  # a frame of the test is a quarter of it
        self.intake = Intake(NAME, replace(LIMITS, **{**few, **limits}))  # type: ignore[arg-type]
        state = None if mark is None else store_state(20, mark=mark)
        self.ground = Ground(frozenset(), POLICY, DEVICES, state, True)

    def takes(self, step: tuple[Intake, list[Effect]]) -> list[Effect]:
        self.intake, effects = step
        return effects

    def hears(self, *events: Event) -> list[Effect]:
        """What the last of the events makes it order."""
        effects: list[Effect] = []
        for event in events:
            effects = self.takes(intakes.step(self.intake, event, self.ground, self.now))
        return effects

    def reads(self, mark: int, published: bool = True) -> list[Effect]:
        """The source was read so far."""
        self.ground = self.ground._replace(state=store_state(20 + mark, mark=mark), published=published)
        return self.takes(intakes.proceed(self.intake, self.ground, self.now))

    def offers(self, device: str = A, number: int = 0, outbox: str = "box") -> list[Effect]:
        self.takes(intakes.offered(self.intake, device, Offer(NAME, outbox, 1, 1)))
        return self.hears(VerdictsRead(device, NAME, outbox, number, ()))

    def sends(
        self, device: str = A, raw: bytes = b"." * 20, outbox: str = "box", number: int = 1, whole: bool = True
    ) -> list[Effect]:
        frame = Frame(device, upload(number, outbox, whole), raw)
        return self.takes(intakes.uploaded(self.intake, frame, self.ground))

    def later(self, seconds: float) -> list[Effect]:
        self.now += seconds
        return self.hears(Tick())
